"""Everything that is said of a model on one split."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from training.evaluation.accuracy import ScoredPair, accuracy, slices
from training.evaluation.calibration import expected_calibration_error, log_loss, reliability


def evaluate_pairs(pairs: Sequence[ScoredPair], *, seed: int = 0) -> dict[str, Any]:
    """Accuracy with interval, log-loss, calibration and slices of scored pairs, ready for JSON.

    For a reward model the scores are its rewards; for a policy the implicit rewards b log(policy / reference), so
    that the accuracy is the implicit reward accuracy. Calibration figures are None where there are no pairs.
    """
    differences = np.array([pair.score_chosen - pair.score_rejected for pair in pairs], dtype=np.float64)
    labels = np.array([pair.probability for pair in pairs], dtype=np.float64)
    bins = reliability(differences, labels) if len(pairs) else []
    return {
        **accuracy(pairs, seed=seed),
        "log_loss": log_loss(differences, labels) if len(pairs) else None,
        "ece": expected_calibration_error(bins) if bins else None,
        "mean_margin": float(differences.mean()) if len(pairs) else None,
        "reliability": [asdict(one) for one in bins],
        "slices": slices(pairs, seed=seed),
    }
