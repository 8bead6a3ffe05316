"""One arm for each instance under a budget and capacities: the most value that the money buys.

max Σ value[i, arm(i)] with Σ cost ≤ money and at most capacity[a] instances per arm: a multiple-choice knapsack, solved
on its Lagrangian (Everett 1963) by bisection of the price of money and of each arm's places; what the bisection leaves
over is spent greedily. Within one instance's value of the optimum where no capacity binds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BISECTIONS = 50
SWEEPS = 4
NONE = -1


def choose_arms(value: Floats, cost: Ints, money: int, capacity: Ints) -> Ints:
    """The arm of each instance [N]: a column of value [N, A], or −1 for none. Nothing of value ≤ 0 is ever chosen.

    cost [N, A] and money are whole units ≥ 0; capacity [A] counts instances.
    """
    if not value.size or money < 0:
        return np.full(len(value), NONE, dtype=np.int64)
    allowed = np.where((value > 0) & (cost <= money) & (capacity > 0), value, -np.inf)
    choice = _at_price(allowed, cost, 0.0, capacity)
    if _spent(choice, cost) <= money:
        return _fill(choice, allowed, cost, money, capacity)  # where many are worth the same, the toll empties an arm
    low, high = 0.0, float(np.max(np.where(np.isfinite(allowed), allowed, 0.0) / np.maximum(cost, 1))) + 1e-12
    choice = np.full(len(value), NONE, dtype=np.int64)
    for _ in range(BISECTIONS):
        price = (low + high) / 2.0
        tried = _at_price(allowed, cost, price, capacity)
        if _spent(tried, cost) <= money:
            choice, high = tried, price
        else:
            low = price
    return _fill(choice, allowed, cost, money, capacity)


def _spent(choice: Ints, cost: Ints) -> int:
    rows = np.flatnonzero(choice >= 0)
    return int(cost[rows, choice[rows]].sum())


def _at_price(allowed: Floats, cost: Ints, price: float, capacity: Ints) -> Ints:
    """Each instance's best arm when money costs `price` a unit, arms that are too full made dearer."""
    surplus = allowed - price * cost
    toll = np.zeros(len(capacity))
    choice = _best(surplus, toll)
    for _ in range(SWEEPS):
        full = np.bincount(choice[choice >= 0], minlength=len(capacity)) > capacity
        if not full.any():
            return choice
        for arm in np.flatnonzero(full):
            toll[arm] = _toll_for(surplus, toll, int(arm), int(capacity[arm]))
        choice = _best(surplus, toll)
    return _cut(choice, surplus, capacity)


def _best(surplus: Floats, toll: Floats) -> Ints:
    left = surplus - toll
    arm = np.argmax(left, axis=1)
    return np.where(left[np.arange(len(arm)), arm] > 0.0, arm, NONE).astype(np.int64)


def _toll_for(surplus: Floats, toll: Floats, arm: int, capacity: int) -> float:
    """The least toll at which at most `capacity` instances still prefer the arm: what it is worth to the next one."""
    others = np.delete(surplus - toll, arm, axis=1)
    second = np.maximum(others.max(axis=1), 0.0) if others.shape[1] else np.zeros(len(surplus))
    worth = np.sort(surplus[:, arm] - second)[::-1]
    return max(float(worth[capacity]), 0.0) if capacity < len(worth) else 0.0


def _cut(choice: Ints, surplus: Floats, capacity: Ints) -> Ints:
    """Strictly within every capacity: the least worth leave."""
    out = choice.copy()
    for arm, most in enumerate(capacity):
        rows = np.flatnonzero(out == arm)
        if len(rows) > most:
            order = np.argsort(-surplus[rows, arm], kind="stable")
            out[rows[order[most:]]] = NONE
    return out


def _fill(choice: Ints, allowed: Floats, cost: Ints, money: int, capacity: Ints) -> Ints:
    """Spend what is left on the best first steps and exchanges, by value a unit of money."""
    out, left = choice.copy(), money - _spent(choice, cost)
    room = capacity - np.bincount(out[out >= 0], minlength=len(capacity))
    rows = np.arange(len(out))
    has = out >= 0
    now_value = np.where(has, allowed[rows, np.maximum(out, 0)], 0.0)
    now_cost = np.where(has, cost[rows, np.maximum(out, 0)], 0)
    more, extra = allowed - now_value[:, None], cost - now_cost[:, None]
    with np.errstate(invalid="ignore"):
        better = (more > 0) & (extra <= left) & (room > 0)[None, :]
    candidates = np.argwhere(better)
    order = np.argsort(-(more[better] / np.maximum(extra[better], 1)), kind="stable")
    changed: set[int] = set()
    for row, arm in candidates[order][: len(out)]:
        if extra[row, arm] <= left and room[arm] > 0 and int(row) not in changed:
            if out[row] >= 0:
                room[out[row]] += 1
            out[row], left, room[arm] = arm, left - int(extra[row, arm]), room[arm] - 1
            changed.add(int(row))
    return out
