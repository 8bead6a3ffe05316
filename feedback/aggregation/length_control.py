"""Win rates at equal length, after length-controlled AlpacaEval (arXiv:2404.04475)."""

from __future__ import annotations

import numpy as np

from feedback.aggregation.votes import Floats

_RIDGE, _STEPS = 1e-3, 50


def length_controlled(outcomes: Floats, gaps: Floats, difficulty: Floats | None = None) -> float:
    """The win rate that is left when both completions are equally long.

    Fits logit P(win) = a + b tanh(gap / sd) + c difficulty to ``outcomes`` [N] (1, ½ for a tie, 0) by maximum
    likelihood, with a ridge of 0.001 against separation, and returns the mean of σ(a + c difficulty) over the rows:
    their prompts stay as hard as they are, their length difference is 0. ``gaps`` [N] are lengths minus lengths of the
    other. ``difficulty`` [N] says how much the prompt of a row favours the one or the other apart from the model, such
    as the logit of how others fared on it; without it the term is left out. Raises ValueError for no rows or unequal
    lengths.
    """
    if not len(outcomes) or len(gaps) != len(outcomes) or (difficulty is not None and len(difficulty) != len(outcomes)):
        raise ValueError("needs as many gaps and difficulties as outcomes, at least one")
    spread = gaps.std()
    hard = np.zeros(len(gaps)) if difficulty is None else difficulty - difficulty.mean()
    columns = np.column_stack([np.ones(len(gaps)), np.tanh(gaps / spread) if spread else np.zeros(len(gaps)), hard])
    weights = np.zeros(3)
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-columns @ weights))
        slope = columns.T @ (outcomes - p) - _RIDGE * weights
        bend = (columns * (p * (1 - p))[:, None]).T @ columns + _RIDGE * np.eye(3)
        step = np.linalg.solve(bend, slope)
        weights += np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    return float(np.mean(1 / (1 + np.exp(-weights[0] - weights[2] * hard))))
