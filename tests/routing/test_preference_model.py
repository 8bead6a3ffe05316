"""The preference model against direct computation, refits and known truths."""

from __future__ import annotations

import numpy as np
import pytest

from routing.ppm.logistic import sigmoid
from routing.ppm.preference_model import (
    MOST_COMPLETIONS,
    Belief,
    Prior,
    Sharing,
    accuracy_of,
    fit_preferences,
    sharing_of,
    with_label,
)
from routing.ppm.signals import margin_of_others


def pairs(groups: int = 6, completions: int = 4, seed: int = 0) -> tuple[np.ndarray, Sharing, np.ndarray, np.ndarray]:
    """x [N, 3], sharing, the incidence matrix [N, C], and labels; the last pair is alone in its prompt."""
    rng = np.random.default_rng(seed)
    group, a, b = [], [], []
    for number in range(groups):
        for one in range(completions):
            for other in range(one):
                group.append(number)
                a.append(number * completions + one)
                b.append(number * completions + other)
    group, a, b = [*group, groups], [*a, groups * completions], [*b, groups * completions + 1]
    incidence = np.zeros((len(group), groups * completions))
    for row in range(len(group) - 1):
        incidence[row, a[row]], incidence[row, b[row]] = 1.0, -1.0
    x = rng.normal(size=(len(group), 3))
    said = rng.choice([0.0, 0.5, 1.0], len(group), p=[0.45, 0.1, 0.45])
    return x, sharing_of(np.array(group), np.array(a), np.array(b)), incidence, said


PRIOR = Prior(np.array([0.5, 0.0, 0.0]), np.array([0.7, 0.4, 0.2]), 0.8)


def test_the_blocks_give_the_dense_answer() -> None:
    x, sharing, incidence, said = pairs()
    model = fit_preferences(x, sharing, said, PRIOR, 0.8)
    belief = model.belief(x, sharing)
    full = np.concatenate([x, incidence], axis=1)
    precision = np.concatenate([1 / PRIOR.sd**2, np.full(incidence.shape[1], 1 / PRIOR.strength**2)])
    hessian = (full.T * model.weight) @ full + np.diag(precision)
    assert np.allclose(belief.variance, np.einsum("np,pq,nq->n", full, np.linalg.inv(hessian), full))
    # at the maximum the gradient of the penalised likelihood is zero
    weights = np.linalg.lstsq(full, belief.mean, rcond=None)[0]
    assert np.allclose(full @ weights, belief.mean)
    by_beta = x.T @ model.gradient - (model.beta - PRIOR.mean) / PRIOR.sd**2
    assert np.abs(by_beta).max() < 0.02


def test_the_gradient_is_the_derivative_of_the_likelihood() -> None:
    x, sharing, _, said = pairs()
    model = fit_preferences(x, sharing, said, PRIOR, 0.75)
    z, step = model.belief(x, sharing).mean, 1e-5

    def likelihood(logit: np.ndarray) -> np.ndarray:
        p = 0.25 + 0.5 * sigmoid(logit)
        return said * np.log(p) + (1 - said) * np.log(1 - p)

    assert np.allclose(model.gradient, (likelihood(z + step) - likelihood(z - step)) / (2 * step), atol=1e-6)


def test_no_label_leaves_the_prior() -> None:
    x, sharing, _, said = pairs()
    nothing = np.zeros(0, dtype=np.int64)
    belief = fit_preferences(x[nothing], sharing.rows(nothing), said[nothing], PRIOR, 0.8).belief(x, sharing)
    assert np.allclose(belief.mean, x @ PRIOR.mean)


def test_what_the_others_say_is_close_to_refitting_without_the_label() -> None:
    x, sharing, _, said = pairs()
    model = fit_preferences(x, sharing, said, PRIOR, 0.9)
    others = model.without_own(model.belief(x, sharing), np.arange(len(x)))
    for row in (0, 7, 20):
        rest = np.delete(np.arange(len(x)), row)
        refit = fit_preferences(x[rest], sharing.rows(rest), said[rest], PRIOR, 0.9).belief(x, sharing)
        assert others.mean[row] == pytest.approx(refit.mean[row], abs=0.12)


def test_a_label_tells_of_pairs_that_share_a_completion_and_not_of_other_prompts() -> None:
    x, sharing, _, _ = pairs()
    x = np.zeros_like(x)
    one = np.array([0])  # completion 1 of prompt 0 beats completion 0
    belief = fit_preferences(x[one], sharing.rows(one), np.array([1.0]), PRIOR, 0.9).belief(x, sharing)
    assert belief.mean[0] > belief.mean[1] > 0  # the pair itself, then completion 2 against 0
    assert np.allclose(belief.mean[sharing.group != 0], 0.0)


@pytest.mark.parametrize("accuracy", [0.7, 0.9])
def test_peoples_accuracy_is_found_from_what_others_say(accuracy: float) -> None:
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 4, 3000)
    truth = rng.random(3000) < sigmoid(logit)
    said = np.where(rng.random(3000) < accuracy, truth, ~truth).astype(float)
    assert accuracy_of(Belief(logit, np.zeros(3000)), said) == pytest.approx(accuracy, abs=0.04)


def test_a_label_adds_its_log_odds_and_a_tie_nothing() -> None:
    p = with_label(np.array([0.9, 0.9, 0.5]), np.array([0.0, 0.5, 1.0]), 0.8)
    assert p.tolist() == pytest.approx([(0.9 * 0.2) / (0.9 * 0.2 + 0.1 * 0.8), 0.9, 0.8])


@pytest.mark.parametrize("accuracy", [0.5, 1.0])
def test_an_impossible_accuracy_is_an_error(accuracy: float) -> None:
    x, sharing, _, said = pairs()
    with pytest.raises(ValueError, match="accuracy"):
        fit_preferences(x, sharing, said, PRIOR, accuracy)


def test_the_margin_of_other_pairs_is_a_ridge_fit_without_the_pair() -> None:
    _, sharing, incidence, said = pairs()
    verdict = 2.0 * said - 1.0
    margin = margin_of_others(sharing, verdict)
    for row in (0, 11, 30):
        rest = np.delete(np.arange(len(verdict)), row)
        b = incidence[rest]
        scores = np.linalg.solve(b.T @ b + np.eye(b.shape[1]), b.T @ verdict[rest])
        assert margin[row] == pytest.approx(float(incidence[row] @ scores))
    assert margin[-1] == 0.0


def test_pairs_of_a_prompt_with_very_many_completions_share_in_blocks() -> None:
    hubs = 3 * MOST_COMPLETIONS  # each completion is in two pairs, like a chain
    a = np.arange(hubs)
    sharing = sharing_of(np.zeros(hubs, np.int64), a, a + 1)
    inside = sharing.group >= 0
    assert inside.mean() > 0.95  # only where two blocks meet
    assert sharing.most <= MOST_COMPLETIONS
    assert sharing.groups >= 3
    ends = np.concatenate([sharing.a[inside], sharing.b[inside]])
    names = np.concatenate([a[inside], a[inside] + 1])
    blocks = np.concatenate([sharing.group[inside], sharing.group[inside]])
    assert len({*zip(blocks, ends, strict=True)}) == len({*names})  # one place for each completion


def test_a_large_prompt_does_not_touch_a_small_one() -> None:
    many = np.arange(2 * MOST_COMPLETIONS)
    group = np.concatenate([np.zeros(len(many), np.int64), np.ones(3, np.int64)])
    a = np.concatenate([many, np.array([9000, 9000, 9001])])
    b = np.concatenate([many + 1, np.array([9001, 9002, 9002])])
    small = sharing_of(group, a, b)
    assert len(set(small.group[-3:])) == 1
    assert small.group[-1] not in set(small.group[:-3])


def test_very_many_pairs_of_one_prompt_stay_cheap() -> None:
    rng = np.random.default_rng(0)
    ends = rng.integers(0, 800, (2000, 2))
    sharing = sharing_of(np.zeros(2000, np.int64), ends[:, 0], ends[:, 1])
    assert sharing.groups * sharing.most**2 * 8 < 2**21  # bytes of one array of strengths
