from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.features.table import describe_pairs
from routing.features.texts import PairText
from routing.ppm.allocation import budget_for_share
from routing.ppm.curve import predicted_curve
from routing.ppm.evaluation import spearman, within_budget_rho
from routing.ppm.mixes import draw_mixes
from routing.ppm.pilot import advised_pilot_size, draw_pilot
from routing.ppm.pool import Arm, Budget, NotFittedError, Pool, Source
from routing.ppm.preparation import Prepared, evidence_from_table, explain, prepare
from routing.ppm.quality import (
    Votes,
    combine,
    estimate_advantage,
    fit_label_quality,
    group_means,
    judge_right_given_human,
    majority_accuracy,
)
from routing.ppm.strategies import STRATEGIES, strategy_named
from routing.ppm.worlds import World, benchmark, draw_votes, evidence_of, labels_of, make_world, with_truth

from .pool_cast import JUDGE, PEOPLE, pool_of, routed

PLANNED = list(STRATEGIES)


# Label quality


def test_the_posterior_of_the_judge_follows_the_published_formula() -> None:
    p_judge, p_human = np.array([0.7, 0.7]), np.array([0.9, 0.9])
    given_one = judge_right_given_human(p_judge, p_human, np.array([True, False]))
    assert given_one == pytest.approx([0.63 / 0.66, 0.07 / 0.34])
    votes = Votes(np.array([0, 1]), np.array([0, 0]), np.array([1.0, -1.0]))
    assert combine(np.ones(2), p_judge, votes, np.array([0.9])) == pytest.approx(given_one)


def test_a_two_to_two_split_is_decided_by_nobodys_order() -> None:
    sides = np.array([1.0, 1.0, -1.0, -1.0])
    even = np.full(4, 0.8)
    for order in ([0, 1, 2, 3], [2, 3, 0, 1], [3, 0, 2, 1]):
        votes = Votes(np.zeros(4, dtype=np.int64), np.arange(4), sides[order])
        assert combine(np.zeros(1), np.full(1, 0.5), votes, even)[0] == pytest.approx(0.5)
        assert combine(np.ones(1), np.full(1, 0.7), votes, even)[0] == pytest.approx(0.7)


def test_one_noisy_person_cannot_undo_a_consistent_judge() -> None:
    against = Votes(np.array([0]), np.array([0]), np.array([-1.0]))
    assert combine(np.ones(1), np.array([0.9]), against, np.array([0.65]))[0] > 0.8
    assert combine(np.ones(1), np.array([0.6]), against, np.array([0.9]))[0] < 0.2


def test_nothing_said_is_unknown_and_a_tie_says_nothing() -> None:
    votes = Votes(np.array([1]), np.array([0]), np.array([0.0]))
    result = combine(np.array([0.0, 0.0, 1.0]), np.array([0.5, 0.5, 0.8]), votes, np.array([0.9]))
    assert np.isnan(result[:2]).all()
    assert result[2] == pytest.approx(0.8)


def test_majorities_by_hand() -> None:
    p = np.array([0.8])
    assert majority_accuracy(p, 1)[0] == pytest.approx(0.8)
    assert majority_accuracy(p, 2)[0] == pytest.approx(0.8)
    assert majority_accuracy(p, 3)[0] == pytest.approx(0.8**3 + 3 * 0.8**2 * 0.2)


@pytest.mark.parametrize(("n_labels", "error"), [(2, 0.05), (3, 0.05)])
def test_accuracies_are_recovered_from_agreement(n_labels: int, error: float) -> None:
    rng = np.random.default_rng(0)
    size = 3000
    truth = np.where(rng.random(size) < 0.5, 1.0, -1.0)
    side = np.where(rng.random(size) < 0.7, truth, -truth)
    rows = np.repeat(np.arange(size), n_labels)
    said = np.where(rng.random(len(rows)) < 0.85, truth[rows], -truth[rows])
    people, judge = group_means(side, Votes(rows, np.zeros(len(rows), dtype=np.int64), said))
    assert people == pytest.approx(0.85, abs=error)
    assert judge == pytest.approx(0.7, abs=error)


def test_advantage_is_high_where_the_judge_errs_and_its_interval_covers() -> None:
    rng = np.random.default_rng(1)
    size = 2000
    hard = rng.random(size) < 0.5
    truth = np.where(rng.random(size) < 0.5, 1.0, -1.0)
    side = np.where(rng.random(size) < np.where(hard, 0.6, 0.95), truth, -truth)
    pilot = np.repeat(np.arange(400), 2)
    said = np.where(rng.random(800) < 0.85, truth[pilot], -truth[pilot])
    votes = Votes(pilot, np.arange(800) % 7, said)
    features = np.column_stack([hard, rng.normal(size=size)]).astype(float)
    quality = fit_label_quality(0.5 + 0.4 * side, features, votes)
    advantage = estimate_advantage(quality, 0.5 + 0.4 * side, features)
    assert advantage.mean[hard].mean() == pytest.approx(0.25, abs=0.08)
    assert advantage.mean[~hard].mean() == pytest.approx(-0.1, abs=0.06)
    assert np.mean((advantage.lower[hard] < 0.25) & (advantage.upper[hard] > 0.25)) > 0.8
    assert np.all(advantage.lower <= advantage.mean)


def test_where_nobody_can_tell_the_judge_from_people_there_is_no_advantage() -> None:
    rng = np.random.default_rng(2)
    side = np.where(rng.random(600) < 0.5, 1.0, -1.0)
    votes = Votes(np.arange(300), np.zeros(300, dtype=np.int64), side[:300])
    features = rng.normal(size=(600, 4))
    judge_p = 0.5 + 0.4 * side
    advantage = estimate_advantage(fit_label_quality(judge_p, features, votes), judge_p, features)
    assert np.mean(advantage.mean) < 0.02


def test_a_missing_verdict_is_right_half_the_time_and_no_pilot_is_an_error() -> None:
    features = np.zeros((3, 1))
    votes = Votes(np.array([0]), np.array([0]), np.array([1.0]))
    judge_p = np.array([0.9, np.nan, 0.5])
    advantage = estimate_advantage(fit_label_quality(judge_p, features, votes), judge_p, features)
    assert advantage.p_judge[1:] == pytest.approx([0.5, 0.5])
    empty = Votes(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))
    with pytest.raises(ValueError, match="both"):
        estimate_advantage(fit_label_quality(judge_p, features, empty), judge_p, features)


# Strategies and money


@pytest.mark.parametrize("name", PLANNED)
@settings(max_examples=40, deadline=None)
@given(
    money=st.floats(0, 30),
    human=st.floats(0, 2),
    judge=st.floats(0, 0.5),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.5)),
    seed=st.integers(0, 1000),
)
def test_no_plan_spends_more_than_its_money(
    name: str, money: float, human: float, judge: float, shares: tuple[float, float, float], seed: int
) -> None:
    pool = pool_of(30, seed, *shares)
    plan = routed(name, pool, money, seed, Arm("h", "crowd", human, 2), Arm("j", "judge", judge))
    bought = (plan.arm == Source.HUMAN) & ~pool.human_done
    asked = (plan.arm == Source.JUDGE) & ~pool.judged
    assert plan.cost <= money + 1e-9
    assert plan.human_cost == pytest.approx(bought.sum() * 2 * human, abs=1e-6)
    assert plan.judge_cost == pytest.approx(asked.sum() * judge, abs=1e-6)
    assert plan.unspent == pytest.approx(money - plan.cost, abs=1e-6)
    assert not ((plan.arm == Source.JUDGE) & pool.judged & ~pool.has_verdict).any()
    assert np.all((plan.propensity >= 0) & (plan.propensity <= 1))


def test_three_tenths_of_money_buy_three_labels_of_a_tenth() -> None:
    assert routed("random", pool_of(), 0.3, human=Arm("h", "crowd", 0.1)).count(Source.HUMAN) == 3


def test_the_pilot_is_kept_and_not_paid_twice() -> None:
    pool = pool_of(done=0.3)
    plan = routed("adv_topk", pool, 0.0)
    assert np.array_equal(plan.arm == Source.HUMAN, pool.human_done)
    assert plan.cost == 0.0
    assert plan.reason(int(np.flatnonzero(pool.human_done)[0])).startswith("People already labelled")


def test_advantage_is_never_routed_where_it_is_not_positive_and_money_is_left() -> None:
    pool = pool_of(60)
    assert pool.advantage is not None
    plan = routed("adv_topk", pool, 1000.0)
    assert np.array_equal(plan.arm == Source.HUMAN, pool.advantage.mean > 0)
    assert plan.unspent == pytest.approx(1000.0 - 0.3 * (pool.advantage.mean > 0).sum())
    best = int(np.argmax(pool.advantage.mean))
    assert f"{100 * pool.advantage.mean[best]:.0f} points more often" in plan.reason(best)


def test_no_advantage_anywhere_spends_nothing_and_says_so() -> None:
    pool = pool_of()
    assert pool.advantage is not None
    flat = replace(pool, advantage=replace(pool.advantage, mean=np.full(40, -0.01)))
    plan = routed("adv_topk", flat, 10.0)
    assert (plan.count(Source.HUMAN), plan.cost) == (0, 0.0)
    assert "anywhere" in plan.notes[0]


def test_the_best_advantages_come_first() -> None:
    pool = pool_of(60)
    assert pool.advantage is not None
    plan = routed("adv_topk", pool, 5 * 0.3)
    chosen = plan.arm == Source.HUMAN
    assert chosen.sum() == 5
    assert pool.advantage.mean[chosen].min() >= pool.advantage.mean[~chosen].max()


def test_disagreement_takes_silence_then_flips_then_close_calls() -> None:
    p = np.array([0.9, np.nan, 0.55, 0.95, 0.6])
    consistent = np.array([True, True, True, False, True])
    pool = Pool(p, np.ones(5, bool), consistent, np.zeros(5, bool), np.zeros((5, 0), np.uint8), ())
    for count, expected in enumerate([[1], [1, 3], [1, 2, 3], [1, 2, 3, 4]], start=1):
        plan = routed("disagreement", pool, 0.3 * count)
        assert np.flatnonzero(plan.arm == Source.HUMAN).tolist() == expected


def test_equal_scores_are_drawn_at_random_and_not_in_import_order() -> None:
    pool = replace(pool_of(40), tag_gain=np.zeros(40))
    chosen = [routed("hyper_topk", pool, 3.0, seed).human_mask for seed in range(30)]
    assert np.mean(chosen, axis=0)[:10].mean() == pytest.approx(0.25, abs=0.12)
    assert np.array_equal(chosen[0], routed("hyper_topk", pool, 3.0, 0).human_mask)


def test_random_logs_the_probability_of_what_it_did() -> None:
    plan = routed("random", pool_of(40), 3.0)
    human = plan.arm == Source.HUMAN
    assert plan.propensity[human] == pytest.approx(10 / 40)
    assert plan.propensity[~human] == pytest.approx(30 / 40)


def test_the_pure_strategies_are_pure() -> None:
    pool = pool_of(40, done=0.2)
    assert routed("all_judge", pool, 100.0).count(Source.JUDGE) == 40
    assert routed("all_human", pool, 100.0).count(Source.HUMAN) == 40


def test_an_unjudged_pool_pays_the_judge_first_and_gives_it_back_for_people() -> None:
    pool = pool_of(10, judged=0.0)
    plan = routed("random", pool, 0.1 + 0.29)
    assert (plan.count(Source.HUMAN), plan.count(Source.JUDGE)) == (1, 9)
    assert plan.cost == pytest.approx(0.3 + 9 * 0.01)
    poor = routed("random", pool, 0.05)
    assert (poor.count(Source.JUDGE), poor.count(Source.NONE)) == (5, 5)


def test_a_strategy_without_what_it_needs_says_so() -> None:
    needed = {need for strategy in STRATEGIES.values() for need in strategy.needs}
    bare = replace(pool_of(), **dict.fromkeys(needed))
    for name in (name for name, strategy in STRATEGIES.items() if strategy.needs):
        assert not STRATEGIES[name].can_route(bare)
        with pytest.raises(NotFittedError):
            routed(name, bare, 1.0)
    with pytest.raises(ValueError, match="known are random"):
        strategy_named("best")


def test_every_instance_has_a_reason_in_words() -> None:
    pool = pool_of(40, judged=0.8, done=0.1, silent=0.2)
    for name in PLANNED:
        plan = routed(name, pool, 2.0)
        reasons = [plan.reason(index) for index in range(40)]
        assert all(reason.endswith(".") and "{" not in reason for reason in reasons), name


@pytest.mark.parametrize(
    "fields", [{"unit_cost": -1.0}, {"unit_cost": float("nan")}, {"unit_cost": 1.0, "n_labels": 0}]
)
def test_an_impossible_arm_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="arm"):
        Arm("x", "crowd", **fields)  # type: ignore[arg-type]


def test_the_money_for_a_share_buys_that_share() -> None:
    pool = pool_of(40, done=0.1)
    for share in (0.1, 0.25, 0.5, 1.0):
        budget = budget_for_share(pool, share, Budget(0, JUDGE, PEOPLE))
        plan = STRATEGIES["random"].route(pool, budget, np.random.default_rng(0))
        assert plan.count(Source.HUMAN) == max(round(share * 40), int(pool.human_done.sum()))
        assert plan.unspent == 0.0


# Pilot


def test_a_pilot_is_a_uniform_draw_with_its_probability() -> None:
    eligible = np.arange(100) < 60
    drawn = np.zeros(100)
    for seed in range(300):
        pilot = draw_pilot(eligible, 15, np.random.default_rng(seed))
        assert pilot.propensity == pytest.approx(0.25)
        drawn[pilot.instances] += 1
    assert drawn[60:].sum() == 0
    assert drawn[:60] / 300 == pytest.approx(np.full(60, 0.25), abs=0.11)


@pytest.mark.parametrize(
    ("pool", "size"), [(0, 0), (10, 5), (1000, 60), (2000, 100), (4000, 300), (10_000, 500), (100_000, 1000)]
)
def test_the_advised_pilot_is_small_for_small_pools(pool: int, size: int) -> None:
    assert advised_pilot_size(pool) == size


# The whole of it


def prepared_world(seed: int = 0, size: int = 1500, labels: int = 2, mixes: int = 80) -> tuple[World, Prepared]:
    world, rng = make_world(seed, size), np.random.default_rng(100 + seed)
    pilot = draw_pilot(np.ones(size, dtype=bool), size // 5, rng)
    votes = draw_votes(world, pilot.instances, labels, rng)
    return world, prepare(evidence_of(world, votes), PEOPLE, rng, mixes=mixes)


def test_a_prepared_pool_can_be_routed_by_every_strategy_and_predicted() -> None:
    world, prepared = prepared_world()
    pool = with_truth(prepared.pool, world)
    budget = budget_for_share(pool, 0.4, Budget(0, JUDGE, PEOPLE))
    for strategy in STRATEGIES.values():
        plan = strategy.route(pool, budget, np.random.default_rng(0))
        assert plan.predicted is not None
        assert 0.4 < plan.predicted.mean < 1.0
        assert 0.0 < plan.predicted.sd < 0.2
    assert prepared.tag_gain is not None
    assert len(explain(pool, prepared.tag_gain, 0)) <= 5


def test_a_curve_stops_where_the_strategy_does_and_random_goes_on() -> None:
    _, prepared = prepared_world()
    arms = Budget(0, JUDGE, PEOPLE)
    random = predicted_curve(prepared.pool, arms, STRATEGIES["random"], 0)
    advantage = predicted_curve(prepared.pool, arms, STRATEGIES["adv_topk"], 0)
    assert [point.share for point in random] == pytest.approx(np.linspace(0, 1, 21))
    assert random[-1].human_share == 1.0
    assert advantage[-1].human_share < 1.0
    assert advantage[-1].spent < advantage[-1].money
    assert all(point.low < point.mean < point.high for point in random + advantage)
    assert np.all(np.diff([point.human_share for point in advantage]) >= 0)


def test_too_small_a_pilot_leaves_the_simple_strategies_and_says_why() -> None:
    world, rng = make_world(0, 300), np.random.default_rng(0)
    votes = draw_votes(world, np.arange(10), 1, rng)
    prepared = prepare(evidence_of(world, votes), PEOPLE, rng, mixes=20)
    assert prepared.pool.outlook is None
    assert "fewer than 40" in prepared.notes[0]
    assert routed("adv_topk", prepared.pool, 1.0).predicted is None
    nobody = prepare(evidence_of(world, draw_votes(world, np.arange(0), 1, rng)), PEOPLE, rng)
    assert "pilot first" in nobody.notes[0]
    assert routed("disagreement", nobody.pool, 3.0).count(Source.HUMAN) == 10


def test_texts_with_a_pilot_become_a_pool_that_can_be_routed() -> None:
    rng = np.random.default_rng(0)
    words = ["cat", "Paris", "proof", "def f(x):", "why", "42", "the", "is", "I cannot help"]
    texts = [" ".join(rng.choice(words, 12)) for _ in range(360)]
    pairs = [PairText(texts[3 * n], texts[3 * n + 1], texts[3 * n + 2]) for n in range(120)]
    described = describe_pairs(pairs, 64)
    judge_p = rng.random(120)
    judge_p[7] = np.nan
    pilot = np.repeat(np.arange(60), 2)
    votes = Votes(pilot, np.arange(120) % 5, rng.choice([-1.0, 0.0, 1.0], 120))
    evidence, bins = evidence_from_table(
        judge_p, np.ones(120, bool), rng.random(120) < 0.8, votes, described.table, described.difference
    )
    prepared = prepare(evidence, PEOPLE, rng, mixes=40)
    assert np.isfinite(evidence.quality_features).all()
    assert prepared.pool.tag_names == evidence.tag_names
    assert prepared.pool.advantage is not None
    assert np.isfinite(prepared.pool.advantage.mean).all()
    again, _ = evidence_from_table(
        judge_p, np.ones(120, bool), evidence.order_consistent, votes, described.table, described.difference, bins=bins
    )
    assert np.array_equal(again.tags, evidence.tags)


@pytest.mark.slow
def test_in_simulated_worlds_routing_beats_random_and_mixes_are_ranked_at_equal_budget() -> None:
    gains: dict[str, list[float]] = {"adv_topk": [], "hyper_topk": [], "oracle": []}
    rhos = []
    for seed in range(6):
        world, prepared = prepared_world(seed, 5000, mixes=300)
        rng, pool = np.random.default_rng(seed), with_truth(prepared.pool, world)
        human = np.where(rng.random(5000) >= world.human_flip, world.gold, -world.gold)
        budget = budget_for_share(pool, 0.35, Budget(0, JUDGE, PEOPLE))

        def score(name: str, draw: int = 0) -> float:
            mask = STRATEGIES[name].route(pool, budget, np.random.default_rng(draw)).human_mask  # noqa: B023
            return benchmark(world, labels_of(world, mask, human))  # noqa: B023

        random = np.mean([score("random", draw) for draw in range(4)])
        for name, values in gains.items():
            values.append(100 * (score(name) - float(random)))
        assert pool.advantage is not None
        assert pool.outlook is not None
        sizes = np.repeat([500, 1250, 2500], 10)
        masks = draw_mixes(pool.tags, sizes, rng, pool.advantage.mean, 0.7)
        actual = np.array([benchmark(world, labels_of(world, mask, human)) for mask in masks])
        rhos.append(within_budget_rho(actual, pool.outlook.predict(masks)[0], sizes))
    assert np.mean(gains["oracle"]) > np.mean(gains["adv_topk"]) > 0.5
    assert np.mean(rhos) > 0.4


@pytest.mark.slow
def test_people_that_only_copy_the_judge_are_not_worth_money() -> None:
    world, rng = make_world(1, 4000), np.random.default_rng(1)
    rows = np.repeat(draw_pilot(np.ones(4000, dtype=bool), 500, rng).instances, 2)
    copied = np.where(world.judge_p > 0.5, 1.0, -1.0)[rows]
    votes = Votes(rows, np.arange(len(rows)) % 9, copied)
    prepared = prepare(evidence_of(world, votes), PEOPLE, rng, mixes=100)
    plan = routed("adv_topk", prepared.pool, 4000 * 0.3)
    assert plan.count(Source.HUMAN) - prepared.pool.human_done.sum() < 0.1 * 4000
    assert plan.unspent > 0.8 * 4000 * 0.3


@pytest.mark.slow
def test_a_model_fitted_on_one_half_of_a_pool_ranks_the_advantage_of_the_other() -> None:
    world, rng = make_world(2, 6000), np.random.default_rng(2)
    evidence = evidence_of(world, draw_votes(world, np.arange(1000), 2, rng))
    prepared = prepare(evidence, PEOPLE, rng, mixes=50)
    assert prepared.pool.advantage is not None
    truth = with_truth(prepared.pool, world).true_gain
    assert truth is not None
    assert spearman(prepared.pool.advantage.mean[3000:], truth[3000:]) > 0.2
