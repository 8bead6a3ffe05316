from __future__ import annotations

import math
from decimal import Decimal
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.judge.backends.simulated import PERSONAS, SimulatedBackend, persona_for
from routing.judge.calibration import expected_calibration_error, fit_isotonic, fit_platt, reliability
from routing.judge.calling import CallResult
from routing.judge.config import JudgeConfig, Order, SimulatedNoise
from routing.judge.outcome import Abstention, ParsedVerdict
from routing.judge.verdict import combine_calls, debias, logit
from tests.routing.asking import combine_orders, judge_pair

CONFIG = JudgeConfig(name="judge", tie_band=0.1)


def call(order: Order, p_first: float | None, sample: int = 0) -> CallResult:
    if p_first is None:
        outcome: ParsedVerdict | Abstention = Abstention("refusal")
    else:
        side = float(np.sign(round(p_first - 0.5, 12)))
        position = "tie" if side == 0 else "first" if side > 0 else "second"
        outcome = ParsedVerdict(position, p_first, 2 * side, f"{order}{sample}")  # type: ignore[arg-type]
    return CallResult(order, sample, outcome, "", None, Decimal("0.01"), True, 0.1, 1, False, "k")


def test_a_position_bias_of_one_logit_cancels() -> None:
    p = 0.8
    ab = 1 / (1 + math.exp(-(logit(p) + 1)))
    ba = 1 / (1 + math.exp(-(logit(p) - 1)))
    assert debias(ab, ba) == pytest.approx(p)


@given(st.floats(0, 1), st.floats(0, 1))
def test_debiasing_is_symmetric_and_lies_between(p: float, q: float) -> None:
    assert debias(p, q) == debias(q, p)
    assert min(p, q) - 1e-4 <= debias(p, q) <= max(p, q) + 1e-4


def test_both_orders_for_a_agree() -> None:
    verdict = combine_orders(call("ab", 0.9), call("ba", 0.1), CONFIG)
    assert verdict.p_a == pytest.approx(0.9)
    assert (verdict.order_consistent, verdict.tie, verdict.needs_person) == (True, False, False)
    assert verdict.strength == 2.0
    assert verdict.cost == Decimal("0.02")


def test_always_the_first_is_a_tie_that_goes_to_a_person() -> None:
    verdict = combine_orders(call("ab", 0.9), call("ba", 0.9), CONFIG)
    assert verdict.p_a == pytest.approx(0.5)
    assert (verdict.order_consistent, verdict.tie, verdict.needs_person) == (False, True, True)


def test_conflicting_orders_far_from_even_are_no_tie_but_still_go_to_a_person() -> None:
    verdict = combine_orders(call("ab", 0.99), call("ba", 0.6), CONFIG)
    assert verdict.p_a is not None
    assert verdict.p_a > 0.6
    assert (verdict.tie, verdict.needs_person) == (False, True)


@pytest.mark.parametrize("missing", ["ab", "ba"])
def test_one_abstaining_order_makes_the_verdict_an_abstention(missing: Order) -> None:
    ab = call("ab", None if missing == "ab" else 0.9)
    ba = call("ba", None if missing == "ba" else 0.1)
    verdict = combine_orders(ab, ba, CONFIG)
    assert verdict.p_a is None
    assert verdict.needs_person
    assert verdict.abstentions == ("refusal",)


def test_a_single_order_is_taken_as_it_is() -> None:
    verdict = combine_orders(None, call("ba", 0.3), CONFIG)
    assert verdict.p_a == pytest.approx(0.7)
    assert verdict.order_consistent is None


def test_samples_are_averaged_in_logits_and_their_agreement_reported() -> None:
    verdict = combine_calls([call("ab", 0.9, 0), call("ab", 0.9, 1), call("ab", 0.1, 2)], CONFIG)
    assert verdict.p_a == pytest.approx(1 / (1 + math.exp(-logit(0.9) / 3)))
    assert verdict.self_consistency == pytest.approx(2 / 3)


def test_no_call_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        combine_orders(None, None, CONFIG)


def simulated(order: Order, seed: int = 0, key: str = "k", **noise: float) -> CallResult:
    config = JudgeConfig(name="s", seed=seed, noise=SimulatedNoise.model_validate(noise))
    a, b = "Paris is the capital of France.", "Sorry, I am unable to say."
    return judge_pair(
        config, SimulatedBackend(), "What is the capital of France?", a, b, order, Random(0), instance_key=key
    )


def test_a_simulated_judge_repeats_itself_exactly() -> None:
    assert simulated("ab").raw == simulated("ab").raw
    raws = {simulated("ab", seed=seed, key=str(seed)).raw for seed in range(30)}
    assert len(raws) > 5


def test_the_pool_has_thirteen_annotators_and_all_are_drawn() -> None:
    assert len(PERSONAS) == 13
    assert {persona_for(0, str(number), 0).name for number in range(400)} == {who.name for who in PERSONAS}


def test_the_noiseless_pool_prefers_the_answer_to_the_refusal() -> None:
    verdicts = [simulated("ab", key=str(n), flip=0.0, position_bias=0.0, length_bias=0.0).p_a for n in range(60)]
    assert np.mean([p > 0.5 for p in verdicts if p is not None]) > 0.8


def test_the_flip_rate_moves_labels_by_about_as_much() -> None:
    backend = SimulatedBackend({str(number): 3.0 for number in range(400)})
    config = JudgeConfig(name="s", noise=SimulatedNoise(flip=0.25, length_bias=0.0, position_bias=0.0))
    calls = [judge_pair(config, backend, "p", "a", "b", "ab", Random(0), instance_key=str(n)) for n in range(400)]
    assert np.mean([call.p_a is not None and call.p_a < 0.5 for call in calls]) == pytest.approx(0.25, abs=0.06)


def test_position_bias_shows_as_order_disagreement() -> None:
    backend = SimulatedBackend({str(number): 0.2 for number in range(200)})
    config = JudgeConfig(name="s", noise=SimulatedNoise(flip=0.0, length_bias=0.0, position_bias=3.0))

    def verdict(key: str) -> bool | None:
        calls = [judge_pair(config, backend, "p", "a", "b", o, Random(0), instance_key=key) for o in ("ab", "ba")]
        return combine_calls(calls, config).order_consistent

    assert np.mean([verdict(str(number)) is False for number in range(200)]) > 0.5


def test_an_abstaining_pool_never_has_a_winner() -> None:
    assert simulated("ab", abstain=0.999).p_a is None


@pytest.mark.parametrize("shape", ["pairwise", "rating"])
def test_the_pool_answers_in_every_shape(shape: str) -> None:
    config = JudgeConfig.model_validate({"name": "s", "shape": shape})
    result = judge_pair(config, SimulatedBackend(), "p", "a b c", "d", "ba", Random(0))
    assert result.parse_status == "ok"


def test_isotonic_pools_the_violators() -> None:
    fitted = fit_isotonic(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.0, 1.0, 0.0, 1.0]))
    assert fitted.apply(np.array([0.1, 0.2, 0.3, 0.4])) == pytest.approx([0.0, 0.5, 0.5, 1.0])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0.0, 1.0])), min_size=1, max_size=40))
def test_isotonic_is_monotone_keeps_the_mean_and_stays_a_probability(rows: list[tuple[float, float]]) -> None:
    p, y = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    fitted = fit_isotonic(p, y).apply(p)
    assert np.all(np.diff(fitted[np.argsort(p, kind="stable")]) >= -1e-12)
    assert fitted.mean() == pytest.approx(y.mean())
    assert np.all((fitted >= 0) & (fitted <= 1))


def test_platt_softens_an_overconfident_judge_and_lowers_its_error() -> None:
    rng = np.random.default_rng(0)
    true = rng.uniform(0.2, 0.8, 4000)
    said = 1 / (1 + np.exp(-3 * np.log(true / (1 - true))))
    y = (rng.random(4000) < true).astype(float)
    fitted = fit_platt(said, y)
    assert fitted.first[0] == pytest.approx(1 / 3, abs=0.05)
    assert expected_calibration_error(fitted.apply(said), y) < 0.04 < expected_calibration_error(said, y)


def test_the_calibration_error_is_the_weighted_gap() -> None:
    p, y = np.array([0.95, 0.95, 0.15]), np.array([1.0, 0.0, 0.0])
    assert expected_calibration_error(p, y) == pytest.approx((2 * 0.45 + 0.15) / 3)
    assert [row.count for row in reliability(p, y)] == [1, 2]


def test_calibration_skips_abstentions_and_needs_something_else() -> None:
    fitted = fit_isotonic(np.array([0.2, np.nan, 0.8]), np.array([0.0, 1.0, 1.0]))
    assert np.isnan(fitted.apply(np.array([np.nan]))[0])
    with pytest.raises(ValueError, match="nothing"):
        fit_isotonic(np.array([np.nan]), np.array([1.0]))
