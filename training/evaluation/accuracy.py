"""How often a model prefers what was preferred, exactly, with an interval over prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ALPHA = 0.05
_Z = 1.959963984540054
_FEW = 30
_MOST_VALUES = 40  # of one mark; the rarest are left out


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """A held-out pair with a model's scores. `probability` is P(chosen better) by the labels; lengths in tokens.

    `marks` says what else is known of it, by name, such as `language` or `tag`: a pair may have several of a kind.
    """

    id: str
    prompt_id: str
    source: str
    score_chosen: float
    score_rejected: float
    probability: float
    length_chosen: int
    length_rejected: int
    marks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def points(pairs: Sequence[ScoredPair]) -> Floats:
    """Points of each pair [N]: 1 where the model agrees with the label, 0 where not, 1/2 at equal scores.

    NaN where the label itself is a tie (probability 1/2): there is no right answer.
    """
    difference = np.sign([pair.score_chosen - pair.score_rejected for pair in pairs])
    lean = np.sign([pair.probability - 0.5 for pair in pairs])
    return np.where(lean == 0, np.nan, (1 + lean * difference) / 2)


def accuracy(pairs: Sequence[ScoredPair], *, seed: int = 0, resamples: int = 1000) -> dict[str, float | int | None]:
    """Exact accuracy k/N with its `share_interval`.

    Returns `accuracy`, `correct` (k, may end in .5), `pairs` (N, without labelled ties), `label_ties`, `model_ties`,
    `prompts`, `low`, `high`. Accuracy and interval are None where N = 0.
    """
    earned = points(pairs)
    decided = ~np.isnan(earned)
    kept, prompts = earned[decided], [pair.prompt_id for pair, use in zip(pairs, decided, strict=True) if use]
    low, high = share_interval(kept, prompts, seed=seed, resamples=resamples)
    return {
        "accuracy": float(kept.sum()) / len(kept) if len(kept) else None,
        "correct": float(kept.sum()),
        "pairs": len(kept),
        "label_ties": int((~decided).sum()),
        "model_ties": int((kept == 0.5).sum()),
        "prompts": len(set(prompts)),
        "low": low,
        "high": high,
    }


def share_interval(
    values: Floats, clusters: Sequence[str], *, seed: int = 0, resamples: int = 1000
) -> tuple[float | None, float | None]:
    """Interval (95%) of the mean of `values` [N] in [0, 1] by `bootstrap_interval`; (None, None) where N = 0.

    With fewer than 30 clusters a bootstrap is too narrow, and a point where all agree: the interval is then widened to
    Wilson's (1927) with clusters as trials.
    """
    low, high = bootstrap_interval(values, clusters, seed=seed, resamples=resamples)
    trials = len(set(clusters))
    if low is not None and high is not None and trials < _FEW:
        wilson = wilson_interval(float(values.mean()), trials)
        low, high = min(low, wilson[0]), max(high, wilson[1])
    return low, high


def wilson_interval(share: float, trials: int) -> tuple[float, float]:
    """Wilson's score interval (95%) of a share seen in ``trials`` > 0 trials, within [0, 1]."""
    spread = _Z**2 / trials
    centre = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * (share * (1 - share) / trials + spread / (4 * trials)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap_interval(
    values: Floats, clusters: Sequence[str], *, seed: int = 0, resamples: int = 1000
) -> tuple[float | None, float | None]:
    """Percentile interval (95%) of the mean of `values` [N], resampling whole clusters with replacement.

    Pairs of one prompt stand or fall together, so that prompts are drawn, not pairs. With S_c and n_c the sum and
    count of cluster c, each resample's mean is sum S_c / sum n_c. (None, None) where N = 0.
    """
    if not len(values):
        return None, None
    names, owner = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.bincount(owner, weights=values, minlength=len(names))
    counts = np.bincount(owner, minlength=len(names))
    generator = np.random.default_rng(seed)
    # how often each cluster is drawn is all that matters: multinomial counts, in blocks to bound memory
    means: list[Floats] = []
    for start in range(0, resamples, 100):
        size = min(100, resamples - start)
        drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=size)
        means.append((drawn @ sums) / (drawn @ counts))
    low, high = np.quantile(np.concatenate(means), [_ALPHA / 2, 1 - _ALPHA / 2])
    return float(low), float(high)


def paired_difference(
    ours: Mapping[str, float], theirs: Mapping[str, float], prompts: Mapping[str, str], *, seed: int = 0
) -> dict[str, float | int | None]:
    """How much more often one model is right than another on the pairs that both scored.

    `ours` and `theirs` are points (1, 1/2, 0) by pair id, `prompts` the prompt of each pair. Returns `pairs`,
    `difference` (mean of ours − theirs), `low` and `high` (95% bootstrap over prompts); None without common pairs.
    """
    common = sorted(ours.keys() & theirs.keys())
    values = np.array([ours[name] - theirs[name] for name in common])
    low, high = bootstrap_interval(values, [prompts[name] for name in common], seed=seed)
    return {"pairs": len(common), "difference": float(values.mean()) if common else None, "low": low, "high": high}


def length_gap(pair: ScoredPair) -> str:
    """Slice of a pair by how the two completions' lengths compare (within a fifth of the longer counts as similar)."""
    longer = max(pair.length_chosen, pair.length_rejected)
    gap = pair.length_chosen - pair.length_rejected
    if abs(gap) <= 0.2 * longer:
        return "similar length"
    return "chosen longer" if gap > 0 else "chosen shorter"


def slices(pairs: Sequence[ScoredPair], *, seed: int = 0) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """Accuracy by source, by length gap and by each mark: of a mark the 40 most frequent values."""
    by: dict[str, dict[str, list[ScoredPair]]] = {"source": {}, "length_gap": {}}
    for pair in pairs:
        marks = {"source": (pair.source,), "length_gap": (length_gap(pair),), **pair.marks}
        for name, values in marks.items():
            for value in values:
                by.setdefault(name, {}).setdefault(value, []).append(pair)
    return {
        name: {key: accuracy(groups[key], seed=seed) for key in sorted(_most_frequent(groups))}
        for name, groups in by.items()
    }


def _most_frequent(groups: Mapping[str, Sequence[ScoredPair]]) -> list[str]:
    return sorted(groups, key=lambda key: (-len(groups[key]), key))[:_MOST_VALUES]
