"""How often the completions of one model are preferred over another's, also at equal lengths, and by whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedback.aggregation.length_control import length_controlled
from training.evaluation.accuracy import share_interval

Floats = NDArray[np.float64]
_LEAST = 10


@dataclass(frozen=True, slots=True)
class Comparison:
    """What somebody said of two completions of one prompt: `outcome` is 1 when `model` was preferred over `other`, 1/2
    for a tie, else 0. Lengths in words; `reward_gap` is a reward model's score of the first minus that of the second,
    if known."""

    prompt_id: str
    model: str
    other: str
    outcome: float
    length: int
    other_length: int
    reward_gap: float | None = None


def win_rate(comparisons: Sequence[Comparison], *, seed: int = 0) -> dict[str, Any]:
    """Win rate (ties count 1/2) with its 95% interval over prompts (`share_interval`), and the rate at equal lengths.

    Returns `comparisons`, `wins`, `ties`, `losses`, `rate`, `low`, `high`, `length_controlled`; the last four are None
    without comparisons, the last also below 10.
    """
    outcomes = np.array([one.outcome for one in comparisons], dtype=np.float64)
    low, high = share_interval(outcomes, [one.prompt_id for one in comparisons], seed=seed)
    gaps = np.array([one.length - one.other_length for one in comparisons], dtype=np.float64)
    return {
        "comparisons": len(comparisons),
        "wins": int((outcomes > 0.5).sum()),
        "ties": int((outcomes == 0.5).sum()),
        "losses": int((outcomes < 0.5).sum()),
        "rate": float(outcomes.mean()) if len(outcomes) else None,
        "low": low,
        "high": high,
        "length_controlled": length_controlled(outcomes, gaps) if len(outcomes) >= _LEAST else None,
    }


def mismatch(comparisons: Sequence[Comparison], *, seed: int = 0) -> dict[str, Any] | None:
    """Where a reward and what it stands for part. None without a comparison that has a reward gap and a winner.

    `agreement` is how often the higher reward was preferred (equal rewards 1/2), with its interval over prompts.
    `mean_gap` is the mean size of the reward gap, `mean_gap_wrong` that of the pairs where the lower reward was
    preferred: as large as the first, the reward does not know when it is wrong. `reward` is the mean reward gap
    towards `model`, `rate` its win rate; `contradicts` says whether the reward puts the wrong model first.
    """
    kept = [one for one in comparisons if one.reward_gap is not None and one.outcome != 0.5]
    if not kept:
        return None
    gaps = np.array([one.reward_gap for one in kept], dtype=np.float64)
    outcomes = np.array([one.outcome for one in kept])
    agree = (1 + np.sign(gaps) * np.sign(outcomes - 0.5)) / 2
    low, high = share_interval(agree, [one.prompt_id for one in kept], seed=seed)
    wrong = np.abs(gaps[agree == 0])
    reward, rate = float(gaps.mean()), float(outcomes.mean())
    return {
        "pairs": len(kept),
        "agreement": float(agree.mean()),
        "low": low,
        "high": high,
        "mean_gap": float(np.abs(gaps).mean()),
        "mean_gap_wrong": float(wrong.mean()) if len(wrong) else None,
        "reward": reward,
        "rate": rate,
        "contradicts": reward * (rate - 0.5) < 0,
    }
