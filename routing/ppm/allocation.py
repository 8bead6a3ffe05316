"""From an order of preference to a plan that the money can pay. The one place where a plan's money is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from routing.ppm.pool import UNITS_PER_MONEY, Budget, Plan, Pool, Prediction, Source

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

KEPT = "People already labelled this instance, which costs nothing more."
NO_VERDICT = "The judge gave no verdict here and the plan does not reach it with people."
NO_MONEY = "The money ran out before this instance."
RULED = "A rule of the plan: people label every instance of this kind."
NOT_JUDGED = "The judge was not asked, and asking it is not part of this plan."


@dataclass(frozen=True)
class Wording:
    """What a strategy says of the instances that it gives to people and of those that it leaves to the judge."""

    human: str
    judge: str


@dataclass(frozen=True)
class Ranking:
    """A strategy's wish: `order` lists the instances to give to people, best first.

    The scores are for all of the pool. `first`: how many of the order make up this round; None where there are none.
    `choice` [N]: the number of the arm that each is wished for; None: people, number 1.
    """

    order: Ints
    score: Floats
    lower: Floats
    wording: Wording
    propensity: Floats | None = None
    notes: tuple[str, ...] = ()
    first: int | None = None
    choice: Ints | None = None


@dataclass(frozen=True)
class _Spending:
    arm: NDArray[np.int8]
    choice: NDArray[np.int8]
    judge_units: int
    human_units: int
    out_of_money: NDArray[np.bool_]


def by_score(score: Floats, candidates: NDArray[np.bool_], rng: np.random.Generator) -> Ints:
    """Candidates by falling score, ties in random order (never in the order in which they were imported)."""
    shuffled = rng.permutation(len(score))
    chosen = shuffled[candidates[shuffled]]
    return np.asarray(chosen[np.argsort(-score[chosen], kind="stable")], dtype=np.int64)


def plan_for(name: str, pool: Pool, budget: Budget, ranking: Ranking, *, judge_rest: bool = True) -> Plan:
    """Carry out a ranking under the budget.

    Labels that exist already are kept for nothing. With `judge_rest` the judge first labels everything that it can pay
    for, then instances are lifted to people in order while money lasts (a lifted instance that was not judged yet gives
    the judge's price back). Without it people come first, and only verdicts that exist fill the rest. What the pool
    says people must label stands before the order.
    """
    ranking = _floors_first(pool, ranking)
    spending = _spend(pool, budget, ranking, judge_rest)
    codes, reasons = _reasons(pool, spending, ranking)
    spent = spending.judge_units + spending.human_units
    propensity = np.ones(pool.size) if ranking.propensity is None else ranking.propensity
    chance = np.where(spending.arm == Source.HUMAN, propensity, 1.0 - propensity)
    return Plan(
        strategy=name,
        arm=spending.arm,
        score=ranking.score,
        lower=ranking.lower,
        propensity=np.where(pool.human_done | (ranking.propensity is None), 1.0, chance),
        reason_code=codes,
        reasons=reasons,
        judge_cost=spending.judge_units / UNITS_PER_MONEY,
        human_cost=spending.human_units / UNITS_PER_MONEY,
        unspent=(budget.units - spent) / UNITS_PER_MONEY,
        predicted=_predict(pool, spending.arm),
        notes=ranking.notes,
        now=_now(pool, spending, ranking),
        choice=spending.choice,
    )


def _floors_first(pool: Pool, ranking: Ranking) -> Ranking:
    """The same wish with the instances that people must label before all others, for certain."""
    if pool.must is None:
        return ranking
    rows = np.flatnonzero(pool.must & ~pool.human_done)
    rows = rows[np.argsort(-ranking.score[rows], kind="stable")]
    others = ~pool.must[ranking.order]
    choice, propensity, first = ranking.choice, ranking.propensity, ranking.first
    if choice is not None:
        choice = np.where(pool.must, 1, choice)
    if propensity is not None:
        propensity = np.where(pool.must, 1.0, propensity)
    if first is not None:
        first = len(rows) + int(others[:first].sum())
    order = np.concatenate([rows, ranking.order[others]])
    return replace(ranking, order=order, choice=choice, propensity=propensity, first=first)


def _now(pool: Pool, spending: _Spending, ranking: Ranking) -> NDArray[np.bool_] | None:
    if ranking.first is None:
        return None
    now = np.zeros(pool.size, dtype=bool)
    now[ranking.order[: ranking.first]] = True
    return np.asarray(now & (spending.arm == Source.HUMAN) & ~pool.human_done)


def most_people(pool: Pool, budget: Budget) -> int:
    """How many new instances the money lets people label for certain, the judge labelling what it can first."""
    asked = int((~pool.judged & ~pool.human_done).sum())
    price = budget.judge.cost_units
    judged = min(asked, budget.units // price) if price else asked
    left = budget.units - judged * price
    open_to_people = pool.size - int(pool.human_done.sum())
    if not budget.human.cost_units:
        return open_to_people
    return min(left // budget.human.cost_units, open_to_people)


def _spend(pool: Pool, budget: Budget, ranking: Ranking, judge_rest: bool) -> _Spending:
    arm = np.where(pool.has_verdict, Source.JUDGE, Source.NONE).astype(np.int8)
    judge_price = np.where(pool.judged, 0, budget.judge.cost_units).astype(np.int64)
    left = budget.units
    bought = np.zeros(pool.size, dtype=np.int64)
    if judge_rest:
        asked = np.flatnonzero(~pool.judged & ~pool.human_done)
        payable = asked[np.cumsum(judge_price[asked]) <= left]
        arm[payable] = Source.JUDGE
        bought[payable] = judge_price[payable]
        left -= int(bought.sum())
    arm[pool.human_done] = Source.HUMAN
    choice = np.select([arm == Source.HUMAN, arm == Source.JUDGE], [1, 0], default=-1).astype(np.int8)
    wanted = ranking.order[~pool.human_done[ranking.order]]
    wish = np.ones(len(wanted), dtype=np.int64) if ranking.choice is None else ranking.choice[wanted]
    cost = np.array([one.cost_units for one in budget.arms], dtype=np.int64)[wish]
    taken = _within(np.maximum(cost - bought[wanted], 0), left, wish, [one.capacity for one in budget.arms])
    chosen = wanted[taken]
    arm[chosen] = np.array([one.source for one in budget.arms], dtype=np.int8)[wish[taken]]
    choice[chosen] = wish[taken]
    bought[chosen] = 0
    people = arm[chosen] == Source.HUMAN
    unreached = np.zeros(pool.size, dtype=bool)
    unreached[wanted[~taken]] = True
    for_people = int(cost[taken][people].sum())
    return _Spending(arm, choice, int(bought.sum()) + int(cost[taken].sum()) - for_people, for_people, unreached)


def _within(price: Ints, money: int, wish: Ints, capacity: Sequence[int | None]) -> NDArray[np.bool_]:
    """Which of the wishes, in their order, are carried out: while their arm has places and until the money runs out."""
    place = np.ones(len(wish), dtype=bool)
    for number, most in enumerate(capacity):
        if most is not None:
            rows = np.flatnonzero(wish == number)
            place[rows[most:]] = False
    return place & (np.cumsum(np.where(place, price, 0)) <= money)


def _reasons(pool: Pool, spending: _Spending, ranking: Ranking) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    reasons = (ranking.wording.human, ranking.wording.judge, KEPT, NO_VERDICT, NO_MONEY, NOT_JUDGED, RULED)
    ruled = np.zeros(pool.size, dtype=bool) if pool.must is None else pool.must
    human = spending.arm == Source.HUMAN
    none = spending.arm == Source.NONE
    codes = np.select(
        [
            human & pool.human_done,
            human & ruled,
            human,
            none & pool.judged & ~spending.out_of_money,
            none & ~pool.judged & ~spending.out_of_money,
            spending.out_of_money,
        ],
        [2, 6, 0, 3, 5, 4],
        default=1,
    )
    return codes.astype(np.uint8), reasons


def _predict(pool: Pool, arm: NDArray[np.int8]) -> Prediction | None:
    if pool.outlook is None:
        return None
    mean, sd = pool.outlook.predict((arm == Source.HUMAN).astype(np.uint8)[None, :])
    return Prediction(float(mean[0]), float(sd[0]))


def budget_for_share(pool: Pool, share: float, arms: Budget) -> Budget:
    """The same arms with the money that lets people label `share` of the pool and the judge the rest.

    Labels that exist are counted in the share and cost nothing. In a pool that is judged throughout it is exact.
    Raises ValueError unless 0 ≤ share ≤ 1.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError("A share lies between 0 and 1.")
    done = int(pool.human_done.sum())
    new = max(round(share * pool.size) - done, 0)
    unjudged = int((~pool.judged & ~pool.human_done).sum())
    units = new * arms.human.cost_units + unjudged * arms.judge.cost_units
    return replace(arms, money=units / UNITS_PER_MONEY)
