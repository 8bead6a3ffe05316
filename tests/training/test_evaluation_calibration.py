import math

import numpy as np
import pytest

from training.evaluation.calibration import expected_calibration_error, log_loss, reliability

LOG3 = math.log(3)  # a confidence of 3/4


def test_log_loss_by_hand() -> None:
    assert log_loss(np.array([0.0]), np.array([1.0])) == pytest.approx(math.log(2))
    assert log_loss(np.array([LOG3]), np.array([1.0])) == pytest.approx(math.log(4 / 3))
    assert log_loss(np.array([LOG3]), np.array([0.0])) == pytest.approx(math.log(4))
    assert log_loss(np.array([1000.0, -1000.0]), np.array([1.0, 1.0])) == 500.0
    assert math.isnan(log_loss(np.array([]), np.array([])))


def test_confidence_that_comes_true_has_no_calibration_error() -> None:
    bins = reliability(np.full(4, LOG3), np.array([1.0, 1.0, 1.0, 0.0]))
    assert len(bins) == 1
    assert (bins[0].count, bins[0].accuracy) == (4, 0.75)
    assert bins[0].confidence == pytest.approx(0.75)
    assert expected_calibration_error(bins) == pytest.approx(0)


def test_overconfidence_is_measured() -> None:
    bins = reliability(np.array([LOG3, -LOG3, 0.0, 0.0]), np.array([0.0, 1.0, 1.0, 0.0]))
    assert expected_calibration_error(bins) == pytest.approx(0.5 * 0.75)  # half of the pairs are off by 3/4


def test_every_pair_is_in_one_bin() -> None:
    differences = np.concatenate([np.linspace(-40, 40, 101), [0.0]])
    bins = reliability(differences, np.ones(102), bins=7)
    assert sum(one.count for one in bins) == 102
    assert all(one.low <= one.confidence <= one.high for one in bins)
    assert math.isnan(expected_calibration_error([]))
