"""Scores of a split part by part: of an ensemble's heads, or of segments."""

import numpy as np
from numpy.typing import NDArray

from training.engine.learner import Learner, Split
from training.engine.measuring import observed

Floats = NDArray[np.float64]


def head_differences(learner: Learner, split: Split) -> tuple[Floats, Floats]:
    """Of each pair what each head scores its left completion above the right one [E, K], and P(left better) [E]."""
    differences = []
    for batch, outputs in observed(learner, split):
        assert outputs.scores is not None
        scores = outputs.scores.double()
        differences.append((scores[batch.edges.left] - scores[batch.edges.right]).cpu().numpy())
    labels = [edge.probability for group in split.groups for edge in group.preferences]
    return np.concatenate(differences), np.array(labels)


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
