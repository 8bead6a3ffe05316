"""Strategies that choose whole mixes, among several arms, or round by round."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.ppm.adaptive import FIRST_LEAST
from routing.ppm.allocation import most_people
from routing.ppm.arms import choose_arms
from routing.ppm.pool import Arm, Budget, Plan, Pool, Source
from routing.ppm.preparation import learner_of
from routing.ppm.proposals import in_chunks, proposals_for, propose
from routing.ppm.proxy import ProxyMetric
from routing.ppm.quality import Advantage, Votes
from routing.ppm.strategies import BATCH_DEFAULT, ONLINE_DEFAULT, STRATEGIES
from routing.ppm.strategies.guided import pays, sure_leads
from routing.ppm.worlds import draw_votes, make_world, signals_of_world

from .pool_cast import JUDGE, PEOPLE, pool_of, routed


def test_the_registry_holds_every_named_strategy() -> None:
    assert set(STRATEGIES) == {
        *("random", "all_judge", "all_human", "hyper_topk", "hyper_simulated", "hyper_optimal", "uncertainty"),
        *("disagreement", "length_gap", "adv_topk", "adv_per_cost", "ppm_guided", "adaptive_advantage", "oracle"),
    }
    assert {BATCH_DEFAULT, ONLINE_DEFAULT} <= set(STRATEGIES)


# One arm for each instance


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 30), st.booleans())
def test_arms_are_chosen_within_an_instance_of_the_optimum_and_never_above_the_money(
    seed: int, money: int, bounded: bool
) -> None:
    rng = np.random.default_rng(seed)
    value, cost = rng.normal(0.1, 0.3, (6, 2)), rng.integers(0, 8, (6, 2))
    capacity = rng.integers(0, 4, 2) if bounded else np.array([6, 6])
    choice = choose_arms(value, cost, money, capacity)
    rows = np.flatnonzero(choice >= 0)
    assert cost[rows, choice[rows]].sum() <= money
    assert (np.bincount(choice[rows], minlength=2) <= capacity).all()
    assert (value[rows, choice[rows]] > 0).all()
    reached = value[rows, choice[rows]].sum()
    best = 0.0
    for arms in product((-1, 0, 1), repeat=6):
        used = [(n, arm) for n, arm in enumerate(arms) if arm >= 0]
        counts = np.bincount([arm for _, arm in used], minlength=2)
        if sum(cost[n, arm] for n, arm in used) <= money and (counts <= capacity).all():
            best = max(best, sum(value[n, arm] for n, arm in used))
    slack = np.maximum(value, 0).max() * (1 if not bounded else 2)
    assert reached >= best - slack - 1e-9


def test_unlimited_money_gives_everybody_the_best_arm() -> None:
    value = np.array([[0.1, 0.3], [0.2, -0.1], [-0.2, -0.3]])
    assert choose_arms(value, np.ones((3, 2), dtype=np.int64), 100, np.array([3, 3])).tolist() == [1, 0, -1]
    assert choose_arms(value, np.ones((3, 2), dtype=np.int64), 100, np.array([3, 0])).tolist() == [0, 0, -1]
    alike = np.tile([0.2, 0.5], (10, 1))  # a few slices make many instances worth the same
    chosen = choose_arms(alike, np.ones((10, 2), dtype=np.int64), 100, np.array([10, 4]))
    assert np.bincount(chosen).tolist() == [6, 4]


def test_with_one_arm_of_people_the_price_changes_nothing() -> None:
    pool = pool_of(60)
    for money in (0.0, 1.5, 6.0, 100.0):
        assert np.array_equal(routed("adv_per_cost", pool, money).arm, routed("adv_topk", pool, money).arm)


def with_experts(pool: Pool) -> tuple[Pool, Budget]:
    mean = np.linspace(-0.2, 0.5, pool.size)
    expert = Advantage(mean, mean - 0.1, mean + 0.1, np.full(pool.size, 0.95), 0.95 - mean)
    second = replace(expert, mean=np.full(pool.size, 0.02))
    arms = (Arm("expert", "expert", 2.0, capacity=4), Arm("judge B", "judge", 0.02))
    return replace(pool, arm_advantages={"expert": expert, "judge B": second}), Budget(6.0, JUDGE, PEOPLE, arms)


def test_several_arms_are_paid_at_their_own_price_and_within_their_places() -> None:
    pool, budget = with_experts(pool_of(40))
    plan = STRATEGIES["adv_per_cost"].route(pool, budget, np.random.default_rng(0))
    counts = [int((plan.choice == number).sum()) for number in range(4)]
    assert sum(counts) == 40
    assert counts[2] <= 4
    assert counts[3] > 0
    assert plan.human_cost == pytest.approx(0.3 * counts[1] + 2.0 * counts[2])
    assert plan.judge_cost == pytest.approx(0.02 * counts[3])
    assert plan.cost <= 6.0
    assert np.array_equal(plan.arm == Source.HUMAN, (plan.choice == 1) | (plan.choice == 2))


def test_the_expert_goes_where_nobody_else_is_better() -> None:
    pool, budget = with_experts(pool_of(40))
    rich = STRATEGIES["adv_per_cost"].route(pool, replace(budget, money=1000.0), np.random.default_rng(0))
    assert pool.advantage is not None
    assert np.flatnonzero(rich.choice == 2).size == 4
    value = np.column_stack([pool.advantage.mean, pool.arm_advantages["expert"].mean])
    over = value[:, 1] - np.maximum(value[:, 0], 0.02)
    assert set(np.flatnonzero(rich.choice == 2)) == set(np.argsort(-over)[:4])


def test_people_without_places_are_not_sent_to() -> None:
    pool = pool_of(40)
    plan = routed("random", pool, 100.0, human=replace(PEOPLE, capacity=5))
    assert plan.count(Source.HUMAN) == 5
    with pytest.raises(ValueError, match="capacity"):
        replace(PEOPLE, capacity=-1)
    with pytest.raises(ValueError, match="name"):
        Budget(1.0, JUDGE, PEOPLE, (PEOPLE,))


# Whole mixes


def test_the_money_for_people_is_counted_as_plans_spend_it() -> None:
    for judged, money in product((0.0, 0.5, 1.0), (0.0, 0.2, 3.0, 100.0)):
        pool = pool_of(40, judged=judged, done=0.2)
        budget = Budget(money, JUDGE, PEOPLE)
        sent = routed("random", pool, money).count(Source.HUMAN) - int(pool.human_done.sum())
        assert most_people(pool, budget) <= sent <= most_people(pool, budget) + 2


def predicted(pool: Pool, plan: Plan) -> float:
    assert pool.tag_model is not None
    return float(pool.tag_model.scores(pool.tags, plan.human_mask[None, :])[0])


def test_the_simulated_strategy_predicts_better_than_a_draw_and_spends_all() -> None:
    pool = pool_of(60, done=0.1)
    plan = routed("hyper_simulated", pool, 6.0)
    assert plan.count(Source.HUMAN) == 20 + int(pool.human_done.sum())
    draws = [predicted(pool, routed("random", pool, 6.0, seed)) for seed in range(100)]
    assert predicted(pool, plan) > np.quantile(draws, 0.95)


def test_the_optimal_strategy_may_leave_money_where_the_prediction_is_better_without() -> None:
    pool = pool_of(60)
    assert pool.tag_model is not None
    turned = replace(pool.tag_model, model=_Falling())
    plan = routed("hyper_optimal", replace(pool, tag_model=turned), 6.0)
    assert plan.count(Source.HUMAN) == 0
    assert plan.unspent == 6.0


class _Falling:
    def predict(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return -phi.sum(axis=1), np.zeros(len(phi))


def test_the_guided_mix_is_the_plain_top_or_surely_better_and_stops_where_there_is_no_advantage() -> None:
    pool = pool_of(60, done=0.1)
    assert pool.advantage is not None
    assert pool.outlook is not None
    plan, plain = routed("ppm_guided", pool, 4.5), routed("adv_topk", pool, 4.5)
    same = np.array_equal(plan.arm, plain.arm)
    assert same or sure_leads(pool.outlook, plan.human_mask[None, :], plain.human_mask)[0] > 0
    sent = (plan.arm == Source.HUMAN) & ~pool.human_done
    worth = pays(pool.advantage)
    assert worth[sent].all()
    assert sent.sum() <= 15
    rich = routed("ppm_guided", pool, 1000.0)
    assert np.array_equal((rich.arm == Source.HUMAN) & ~pool.human_done, worth & ~pool.human_done)
    assert rich.unspent > 0


def test_a_proposal_is_taken_only_where_its_lead_is_sure() -> None:
    """The model likes people in the last rows, against the advantage; doubt of its validation pairs holds it back."""
    pool = pool_of(60)
    assert pool.advantage is not None
    assert pool.outlook is not None
    mean = np.linspace(0.4, 0.2, 60)
    sure = replace(pool.advantage, mean=mean, lower=mean - 0.01, upper=mean + 0.01)
    model = _Later()
    liked = replace(pool, advantage=sure, outlook=replace(pool.outlook, model=model, target=None))
    top = routed("adv_topk", liked, 4.5)
    assert not np.array_equal(routed("ppm_guided", liked, 4.5).arm, top.arm)
    model.sd = 10.0
    assert np.array_equal(routed("ppm_guided", liked, 4.5).arm, top.arm)


class _Later:
    """Scores a mix by how little advantage it holds (column 5 from the end of the design)."""

    sd = 0.0

    def predict(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return -phi[:, -4], np.full(len(phi), self.sd)


def test_where_the_advantage_is_not_known_a_random_draw_is_the_plan() -> None:
    pool = pool_of(60)
    assert pool.advantage is not None
    assert pool.outlook is not None
    mean = np.linspace(0.021, 0.022, 60)
    unknown = replace(pool.advantage, mean=mean, lower=mean - 0.3, upper=mean + 0.3)
    flat = replace(pool, advantage=unknown, outlook=replace(pool.outlook, model=_Later()))
    flat.outlook.model.sd = 10.0  # type: ignore[union-attr]
    plan = routed("ppm_guided", flat, 4.5)
    assert plan.count(Source.HUMAN) == 15
    assert "drawn at random" in plan.notes[0]
    assert not np.array_equal(plan.arm, routed("adv_topk", flat, 4.5).arm)


def test_the_error_of_a_difference_is_taken_pair_by_pair() -> None:
    x = np.eye(4, dtype=np.float32)
    metric = ProxyMetric(x, np.ones(4), np.ones(4), np.zeros(4, dtype=np.int64))
    one = np.array([1.0, 1.0, 1.0, -1.0], dtype=np.float32)
    other = np.array([1.0, 1.0, -1.0, -1.0], dtype=np.float32)
    d = (1.0 / (1.0 + np.exp(-2.0)) - 1.0 / (1.0 + np.exp(2.0))) * np.array([0.0, 0.0, 1.0, 0.0])
    assert metric.paired_errors(np.stack([one, other]), other) == pytest.approx(
        [np.sqrt(((d - d.mean()) ** 2).sum()) / 4, 0.0]
    )


def test_a_judges_error_counts_as_two_of_peoples_and_a_point_or_two_pays_nothing() -> None:
    p_human, p_judge = np.array([0.8, 0.8, 0.99, 0.9]), np.array([0.89, 0.91, 0.985, 0.94])
    gap = p_human - p_judge
    assert pays(Advantage(gap, gap, gap, p_human, p_judge)).tolist() == [True, False, False, True]


def test_a_guided_plan_without_any_advantage_spends_nothing_and_says_so() -> None:
    pool = pool_of()
    assert pool.advantage is not None
    none = np.full(40, -0.15)
    flat = replace(pool, advantage=replace(pool.advantage, mean=none, upper=none + 0.1))
    for name in ("ppm_guided", "adv_per_cost"):
        plan = routed(name, flat, 10.0)
        assert plan.count(Source.HUMAN) == 0
        assert "anywhere" in plan.notes[0], name


def test_without_a_prediction_the_guided_mix_is_the_plain_top_and_says_so() -> None:
    bare = replace(pool_of(60), outlook=None)
    plan = routed("ppm_guided", bare, 3.0)
    assert np.array_equal(plan.arm, routed("adv_topk", bare, 3.0).arm)
    assert "No metric can be predicted" in plan.notes[0]


def test_proposals_hold_the_done_ones_and_only_where_people_are_better() -> None:
    pool = pool_of(50, done=0.2)
    assert pool.advantage is not None
    mean, done = pool.advantage.mean, pool.human_done
    masks = np.concatenate(list(propose(pool.tags, mean, done, mean > 0, 8, 40, np.random.default_rng(0))))
    assert masks.shape == (40, 50)
    assert masks[:, done].all()
    assert not masks[:, (mean <= 0) & ~done].any()
    assert (masks[:, ~done].sum(axis=1) == min(8, int(((mean > 0) & ~done).sum()))).all()
    assert len(np.unique(masks, axis=0)) > 10


def test_proposals_are_fewer_in_large_pools_and_their_memory_is_bounded() -> None:
    assert [proposals_for(size) for size in (100, 10_000, 40_000, 10**6)] == [1000, 1000, 500, 100]
    assert max(len(rows) for rows in in_chunks(500, 10**6)) * 10**6 <= 210_000_000
    assert sum(len(rows) for rows in in_chunks(500, 10**6)) == 500


# Rounds


def rounds_pool(labelled: int = 0) -> Pool:
    world, rng = make_world(0, 400), np.random.default_rng(0)
    votes = draw_votes(world, np.arange(labelled), 1, rng)
    pool = pool_of(400)
    done = np.zeros(400, dtype=bool)
    done[:labelled] = True
    return replace(pool, judge_p=world.judge_p, human_done=done, learner=learner_of(signals_of_world(world), votes))


def test_the_first_round_is_where_the_judge_doubts_most() -> None:
    pool = rounds_pool()
    plan = routed("adaptive_advantage", pool, 1000.0)
    first = routed("disagreement", pool, 0.3 * FIRST_LEAST)
    assert plan.now is not None
    assert plan.now.sum() == FIRST_LEAST
    assert np.array_equal(plan.now, first.arm == Source.HUMAN)
    assert plan.count(Source.HUMAN) > FIRST_LEAST
    assert plan.unspent > 0


def test_a_later_round_is_three_hundredths_with_its_chances_logged() -> None:
    pool = replace(rounds_pool(60))
    assert pool.learner is not None
    plan = routed("adaptive_advantage", pool, 1000.0)
    assert plan.now is not None
    assert plan.now.sum() == 12
    assert not (plan.now & pool.human_done).any()
    drawn = plan.now & (plan.propensity < 1)
    assert drawn.sum() == 1
    assert plan.propensity[drawn][0] == pytest.approx(1 / (400 - 60 - 11))
    certain = plan.now & ~drawn
    assert pool.learner.worth[certain].min() >= np.sort(pool.learner.worth[~pool.human_done])[-11] - 1e-9


def test_a_round_is_cut_by_its_money() -> None:
    plan = routed("adaptive_advantage", rounds_pool(60), 1.0)
    assert plan.now is not None
    assert (int(plan.now.sum()), plan.count(Source.HUMAN)) == (3, 63)


def test_when_nothing_pays_any_more_the_money_is_kept_and_it_is_said() -> None:
    pool = rounds_pool()
    world = make_world(0, 400)
    side = np.where(world.judge_p > 0.5, 1.0, -1.0)
    copied = Votes(np.arange(120), np.zeros(120, dtype=np.int64), side[:120])
    done = np.arange(400) < 120
    stopped = replace(pool, human_done=done, learner=learner_of(signals_of_world(world), copied))
    plan = routed("adaptive_advantage", stopped, 100.0)
    assert plan.unspent == 100.0
    assert "No label is expected to pay" in plan.notes[0]


def test_a_verdict_believed_wrong_is_worth_a_label_where_it_would_stay() -> None:
    world = make_world(0, 400)
    wrong = 0.5 - world.gold * 0.3
    signals = signals_of_world(replace(world, judge_p=wrong))
    votes = draw_votes(replace(world, human_flip=np.full(400, 0.1)), np.arange(100), 1, np.random.default_rng(0))
    belief, mix = learner_of(signals, votes), learner_of(signals, votes, -world.gold)
    assert np.mean(np.sign(belief.probability[100:] - 0.5) == world.gold[100:]) > 0.9
    assert np.median(belief.worth[100:]) < 0.1 < 0.5 < np.median(mix.worth[100:])
    assert mix.worth[:100] == pytest.approx(belief.worth[:100])  # what is labelled is kept as believed
    assert mix.unchanged == 0


def test_two_labels_of_one_pair_count_both() -> None:
    signals = signals_of_world(make_world(0, 200))
    row = np.array([3])
    once, agreed, split = (
        learner_of(signals, Votes(np.repeat(row, len(sides)), np.arange(len(sides)), np.array(sides)))
        for sides in ([1.0], [1.0, 1.0], [1.0, -1.0])
    )
    before = learner_of(signals, Votes(row[:0], row[:0], np.zeros(0)))
    assert agreed.probability[3] > once.probability[3] > split.probability[3]
    assert split.probability[3] == pytest.approx(before.probability[3], abs=0.05)
    assert agreed.worth[3] < once.worth[3]
