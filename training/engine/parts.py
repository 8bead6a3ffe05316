"""Scores of a split part by part: of an ensemble's heads, or of segments."""

import numpy as np
from numpy.typing import NDArray

from training.engine.loop import Learner, Split, observed

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


def head_scores(learner: Learner, split: Split) -> tuple[Floats, Whole, Whole]:
    """Scores of all completions [R, K], and the left and right completion of each pair [E]."""
    scores, left, right = [], [], []
    rows = 0
    for batch, outputs in observed(learner, split):
        assert outputs.scores is not None
        scores.append(outputs.scores.double().cpu().numpy())
        left.append(batch.edges.left.cpu().numpy() + rows)
        right.append(batch.edges.right.cpu().numpy() + rows)
        rows += len(batch.last)
    return np.concatenate(scores), np.concatenate(left), np.concatenate(right)


def segment_scores(learner: Learner, split: Split, types: int) -> tuple[Floats, Floats]:
    """Scores and labels of all segments by error type [M, K], of K types."""
    scores, labels = [], []
    for batch, outputs in observed(learner, split):
        if len(batch.segments.completion):
            assert outputs.segment_scores is not None
            scores.append(outputs.segment_scores[:, :-1].double().cpu().numpy())
            labels.append(batch.segments.labels.double().cpu().numpy())
    none = np.zeros((0, types))
    return np.concatenate([none, *scores]), np.concatenate([none, *labels])
