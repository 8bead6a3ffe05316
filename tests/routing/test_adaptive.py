"""The adaptive learner beyond a replay: several labels of a pair, rounds taken up again, transfer, curve, reasons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from routing.ppm.adaptive import Learner
from routing.ppm.label_curve import label_curve
from routing.ppm.people import label_accuracy
from routing.ppm.pilot import pilot_precision, sizes_to_compare
from routing.ppm.reasons import contributions, tag_effects, top_tags
from routing.ppm.transfer import learned_from, warm_prior
from routing.replay.pool import ReplayPool, pool_of
from routing.replay.strategies import doubt_of
from tests.routing.replay_cast import table


@pytest.fixture(scope="module")
def known() -> tuple[ReplayPool, np.ndarray]:
    rows, truth = table(prompts=40, seed=3)
    return pool_of(rows), truth


def taught(pool: ReplayPool, truth: np.ndarray, count: int = 120, seed: int = 0) -> Learner:
    learner = Learner(pool.signals)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(pool.size)[:count]
    said = np.where(rng.random(count) < 0.85, truth[chosen] > 0, truth[chosen] < 0).astype(float)
    learner.learn(chosen, said)
    return learner


def test_one_noisy_person_does_not_undo_a_consistent_judge(known: tuple[ReplayPool, np.ndarray]) -> None:
    pool, truth = known
    learner = taught(pool, truth)
    sure = int(np.argmax(np.where(np.isin(np.arange(pool.size), learner.labelled), 0, learner.probability)))
    assert learner.probability[sure] > 0.9
    learner.learn(np.array([sure]), np.array([0.0]))
    assert learner.probability[sure] > 0.5
    learner.learn(np.array([sure, sure]), np.array([0.0, 0.0]))
    assert learner.probability[sure] < 0.5


def test_two_labels_of_a_pair_count_twice(known: tuple[ReplayPool, np.ndarray]) -> None:
    pool, truth = known
    learner = taught(pool, truth)
    pair = int(np.setdiff1d(np.arange(pool.size), learner.labelled)[0])
    learner.learn(np.array([pair]), np.array([1.0]))
    once = learner.probability[pair]
    learner.know(np.array([pair]), np.array([1.0]))
    assert learner.probability[pair] > once


def test_a_careless_persons_label_weighs_less(known: tuple[ReplayPool, np.ndarray]) -> None:
    pool, truth = known
    learner = taught(pool, truth)
    pair, said = learner.labelled[0], learner.said_a[0]
    careful, careless = (
        learner.weighed(np.where(learner.labelled == pair, accuracy, learner.accuracy))[pair]
        for accuracy in (0.95, 0.55)
    )
    assert (careful > careless) == (said > 0.5)


def test_a_learner_made_anew_goes_on_where_it_was(known: tuple[ReplayPool, np.ndarray]) -> None:
    pool, truth = known
    doubt = doubt_of(pool, np.random.default_rng(1))
    through, anew = Learner(pool.signals), Learner(pool.signals)
    for number in range(4):
        rng = np.random.default_rng([5, number])
        open_ = np.setdiff1d(np.arange(pool.size), through.labelled)
        again = Learner(pool.signals, anew.progress)
        again.know(anew.labelled, anew.said_a)
        chosen = through.next_round(open_, doubt, rng).instances
        assert list(again.next_round(open_, doubt, np.random.default_rng([5, number])).instances) == list(chosen)
        said = (truth[chosen] > 0).astype(float)
        through.learn(chosen, said)
        again.learn(chosen, said)
        anew = again
        np.testing.assert_allclose(again.probability, through.probability, atol=1e-4)


def test_a_round_says_what_it_drew_at_random_and_with_which_chance(known: tuple[ReplayPool, np.ndarray]) -> None:
    pool, truth = known
    learner = taught(pool, truth, 60)
    open_ = np.setdiff1d(np.arange(pool.size), learner.labelled)
    chosen = learner.next_round(open_, np.ones(pool.size), np.random.default_rng(0), explored=0.5)
    assert len(chosen.instances) == int(0.03 * pool.size)
    assert len(chosen.drawn) == round(0.5 * len(chosen.instances))
    best = len(chosen.instances) - len(chosen.drawn)
    assert set(chosen.propensity[:best]) == {1.0}
    np.testing.assert_allclose(chosen.propensity[best:], len(chosen.drawn) / (len(open_) - best))
    np.testing.assert_allclose(chosen.chance.sum(), len(chosen.instances))
    few = learner.next_round(open_, np.ones(pool.size), np.random.default_rng(0), most=2)
    assert len(few.instances) == 2
    with pytest.raises(ValueError, match="between 0 and 1"):
        learner.next_round(open_, np.ones(pool.size), np.random.default_rng(0), explored=2.0)


@pytest.mark.parametrize("most", [None, 3])
def test_the_chance_of_a_round_that_wants_less_than_one_at_random_is_how_often_it_is_drawn(
    known: tuple[ReplayPool, np.ndarray], most: int | None
) -> None:
    pool, truth = known
    learner = taught(pool, truth, 60)
    open_ = np.setdiff1d(np.arange(pool.size), learner.labelled)
    count, times = int(0.03 * pool.size), 500
    explored = 0.4 / count
    seen, drawn = np.zeros(pool.size), 0
    for seed in range(times):
        rng = np.random.default_rng(seed)
        chosen = learner.next_round(open_, np.ones(pool.size), rng, explored=explored, whole=False, most=most)
        seen[chosen.instances] += 1
        drawn += len(chosen.drawn)
    rest = len(open_) - count + 1
    if most is None:
        assert abs(drawn / times - 0.4) < 0.08
        border = np.flatnonzero((chosen.chance > 0.5) & (chosen.chance < 1.0))
        np.testing.assert_allclose(chosen.chance[border], 0.6 + 0.4 / rest)
        assert len(border) == 1
        assert set(np.flatnonzero(seen == times)) <= set(np.flatnonzero(chosen.chance == 1.0))
        far = np.setdiff1d(open_, np.flatnonzero(chosen.chance > 0.1))
        np.testing.assert_allclose(chosen.chance[far], 0.4 / rest)
        assert abs(seen[far].sum() / times - chosen.chance[far].sum()) < 0.08
    else:
        assert drawn == 0
        assert chosen.chance.sum() == most
    np.testing.assert_allclose(chosen.chance.sum(), len(chosen.instances))


def test_no_paying_label_ends_the_rounds_in_words(known: tuple[ReplayPool, np.ndarray]) -> None:
    pool, truth = known
    learner = taught(pool, truth)
    ended = learner.next_round(np.arange(pool.size), np.ones(pool.size), np.random.default_rng(0), least_worth=0.99)
    assert (len(ended.instances), ended.ended) == (0, "no further label pays")
    learner.unchanged = 60
    assert "changed no side" in learner.next_round(np.arange(pool.size), np.ones(3), np.random.default_rng(0)).ended


def test_a_warm_start_knows_more_than_none_and_less_than_labels(known: tuple[ReplayPool, np.ndarray]) -> None:
    pool, truth = known
    learner = taught(pool, truth)
    before = learned_from(pool.signals, learner.model, 120)
    assert not any(name.startswith("wording") for name in before.weights)
    other_rows, other_truth = table(prompts=30, seed=9)
    other = pool_of(other_rows)
    prior = warm_prior(other.signals, [before])
    assert (prior.sd <= other.signals.prior.sd + 1e-12).all()
    longer = other.signals.names.index("longer")
    assert prior.mean[longer] > 0
    cold, warm = Learner(other.signals), Learner(replace(other.signals, prior=prior))
    rightness = [((one.probability > 0.5) == (other_truth > 0)).mean() for one in (cold, warm)]
    assert rightness[1] > rightness[0]
    few = warm_prior(other.signals, [learned_from(pool.signals, learner.model, 10)])
    np.testing.assert_array_equal(few.mean, other.signals.prior.mean)


def test_the_curve_rises_stops_and_stays_within_its_band(known: tuple[ReplayPool, np.ndarray]) -> None:
    pool, truth = known
    learner = taught(pool, truth)
    open_ = np.setdiff1d(np.arange(pool.size), learner.labelled)
    counts = np.array([0, 10, 40, len(open_)])
    curve = label_curve(learner, pool.judge_p, open_, counts, np.random.default_rng(0))
    means = [point.mean for point in curve.points]
    assert means == sorted(means)
    assert means[1] > means[0]
    assert all(point.low <= point.mean <= point.high for point in curve.points)
    assert curve.points[-1].bought < len(open_)
    assert curve.all_human == learner.accuracy


def test_reasons_name_the_signals_and_the_tags_that_stand_out(known: tuple[ReplayPool, np.ndarray]) -> None:
    pool, truth = known
    learner = taught(pool, truth)
    names, parts = contributions(pool.signals, learner.model.beta)
    assert set(names) == {"verdict", "length", "longer", "format", "wording"}
    np.testing.assert_allclose(parts.sum(axis=1), pool.signals.x @ learner.model.beta)
    values = np.array([0.3, 0.3, 0.0, 0.0])
    tags = np.array([[1, 1], [1, 1], [0, 1], [0, 1]], dtype=np.uint8)
    effects = tag_effects(values, values - 0.1, values + 0.1, tags, ["long", "all"])
    assert [one.tag for one in effects] == ["long"]
    assert effects[0].mean == pytest.approx(0.3)
    assert effects[0].effect == pytest.approx(0.15 * 2 / 12)
    assert [[name for name, _ in row] for row in top_tags(effects, tags, ["long", "all"])] == [["long"]] * 2 + [[]] * 2


def test_careless_people_and_hard_slices_are_told_from_the_others(known: tuple[ReplayPool, np.ndarray]) -> None:
    pool, truth = known
    learner = Learner(pool.signals)
    rng = np.random.default_rng(2)
    chosen = rng.permutation(pool.size)[:200]
    annotator = np.arange(200) % 2
    accuracy = np.where(annotator == 0, 0.95, 0.6)
    right = rng.random(200) < accuracy
    learner.learn(chosen, (right == (truth[chosen] > 0)).astype(float))
    found = label_accuracy(learner, annotator, np.zeros(200, dtype=np.int64))
    assert found[annotator == 0].mean() > found[annotator == 1].mean() + 0.08
    by_slice = label_accuracy(learner, np.zeros(200, dtype=np.int64), annotator)
    assert by_slice[annotator == 0].mean() > by_slice[annotator == 1].mean()


def test_a_pilot_is_as_precise_as_its_size() -> None:
    assert pilot_precision(60, 0.75) == pytest.approx(1.645 * (0.75 * 0.25 / 60) ** 0.5)
    assert sizes_to_compare(160) == [30, 60, 100]
    assert sizes_to_compare(10) == [5]
    assert sizes_to_compare(0) == []
    with pytest.raises(ValueError, match="at least one"):
        pilot_precision(0)
