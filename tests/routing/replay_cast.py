"""Tables to replay: judges that err in known places, people that err at random, prompts with several pairs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np

from routing.replay.table import ReplayRow

WORDS = ["river", "stone", "cloud", "paper", "light", "music", "garden", "window", "table", "forest"]


def table(
    prompts: int = 30,
    completions: int = 4,
    seed: int = 0,
    people: float = 0.8,
    judge: Callable[[int, int, np.random.Generator], tuple[int, ...]] | None = None,
) -> tuple[list[ReplayRow], np.ndarray]:
    """(rows, truth ±1): people like the longer completion of a prompt, and say so with probability `people`.

    judge(truth, gap in words, rng) gives its verdicts in both orders; by default it is right seven times of ten.
    """
    rng = np.random.default_rng(seed)
    rows, truths = [], []
    for prompt in range(prompts):
        sizes = rng.permutation(np.arange(5, 5 + 6 * completions, 6))
        texts = [" ".join(rng.choice(WORDS, size)) for size in sizes]
        for a, b in combinations(range(completions), 2):
            gap = int(sizes[a] - sizes[b])
            truth = 1 if gap > 0 else -1
            label = truth if rng.random() < people else -truth
            said = judge(truth, gap, rng) if judge else tuple(truth if rng.random() < 0.7 else -truth for _ in "ab")
            name = f"{prompt}-{a}-{b}"
            rows.append(
                ReplayRow(name, str(prompt), f"Describe {prompt}", texts[a], texts[b], {"judge": said}, "judge", label)
            )
            truths.append(truth)
    return rows, np.array(truths)


def right(p_a: np.ndarray, truth: np.ndarray) -> float:
    """Share of labels on the true side; one half for an even chance."""
    return float(np.where(p_a == 0.5, 0.5, (p_a > 0.5) == (truth > 0)).mean())
