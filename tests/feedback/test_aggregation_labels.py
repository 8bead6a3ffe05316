"""Majority, Dawid–Skene, MACE: hand numbers, properties, crowd-kit, and crowds with known truth."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.aggregation import NO_LABEL, Votes, dawid_skene, mace, majority
from tests.conftest import shared_data

TRIPLES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=40)


def votes_of(triples: list[tuple[int, int, int]]) -> Votes:
    item, annotator, label = zip(*triples, strict=True)
    return Votes.of(item, annotator, label, n_items=6, n_annotators=4, n_labels=3)


def test_majority_reports_a_split_and_never_resolves_it() -> None:
    votes = Votes.of([0, 0, 0, 1, 1], [0, 1, 2, 0, 1], [1, 1, 0, 0, 1], n_items=3)
    result = majority(votes)
    np.testing.assert_allclose(result.soft, [[1 / 3, 2 / 3], [0.5, 0.5], [0.0, 0.0]])
    assert result.label.tolist() == [1, NO_LABEL, NO_LABEL]
    assert result.tied.tolist() == [False, True, False]
    assert result.n_votes.tolist() == [3, 2, 0]


def test_weights_break_a_split() -> None:
    votes = Votes.of([0, 0], [0, 1], [0, 1])
    assert majority(votes, np.array([1.0, 2.0])).label.tolist() == [1]
    with pytest.raises(ValueError, match="non-negative"):
        majority(votes, np.array([1.0, -2.0]))


@given(TRIPLES, st.randoms())
def test_majority_does_not_depend_on_order(triples: list[tuple[int, int, int]], random: object) -> None:
    shuffled = list(triples)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = majority(votes_of(triples)), majority(votes_of(shuffled))
    np.testing.assert_array_equal(one.label, other.label)
    np.testing.assert_allclose(one.soft, other.soft)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (([0], [0], [0, 1]), "differ in length"),
        (([0], [0], [-1]), "label holds a negative"),
        (([0.5], [0], [0]), "integers only"),
        (([[0]], [0], [0]), "one-dimensional"),
    ],
)
def test_bad_votes_are_refused(columns: tuple[list[int], ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Votes.of(*columns)
    with pytest.raises(ValueError, match="item holds 3, past its bound 3"):
        Votes.of([3], [0], [0], n_items=3)


def test_dawid_skene_one_step_by_hand() -> None:
    # two items; annotators 0 and 1 say 0 of item 0 and 1 of item 1, annotator 2 says 1 of both
    votes = Votes.of([0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2], [0, 0, 1, 1, 1, 1])
    result = dawid_skene(votes, smoothing=0.0, max_iterations=1)
    # start: q_0 = (2/3, 1/3), q_1 = (0, 1), so p = (1/3, 2/3); P(annotator 0 says 1 | true 1) = 1 / (4/3) = 3/4
    np.testing.assert_allclose(result.prior, [1 / 3, 2 / 3])
    np.testing.assert_allclose(result.confusion[0], [[1.0, 0.0], [0.25, 0.75]])
    np.testing.assert_allclose(result.confusion[2], [[0, 1], [0, 1]])
    # item 0: 1/3 · 1 · 1 · 1 against 2/3 · 1/4 · 1/4 · 1, that is 8 : 1
    np.testing.assert_allclose(result.posterior[0], [8 / 9, 1 / 9])
    # likelihood: item 0 has 1/3 + 1/24 = 3/8, item 1 has 2/3 · 3/4 · 3/4 = 3/8
    assert result.log_likelihood == pytest.approx(2 * np.log(3 / 8))


@given(TRIPLES, st.sampled_from([0.0, 0.01, 1.0]))
def test_dawid_skene_climbs_and_stays_a_distribution(triples: list[tuple[int, int, int]], smoothing: float) -> None:
    result = dawid_skene(votes_of(triples), smoothing=smoothing, max_iterations=30)
    assert (np.diff(result.objective) > -1e-8).all()
    np.testing.assert_allclose(result.posterior.sum(axis=1), 1)
    np.testing.assert_allclose(result.confusion.sum(axis=2), 1)
    assert result.prior.sum() == pytest.approx(1)


def test_dawid_skene_trusts_a_good_annotator_over_two_spammers() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 300)
    good = [np.where(rng.random(300) < 0.95, truth, 1 - truth) for _ in range(3)]
    spam = [rng.integers(0, 2, 300) for _ in range(4)]
    said = np.stack([*good, *spam])
    item, annotator = np.tile(np.arange(300), 7), np.repeat(np.arange(7), 300)
    votes = Votes.of(item, annotator, said.ravel())
    plain = (majority(votes).label == truth).mean()
    assert (dawid_skene(votes).label == truth).mean() > plain + 0.05
    result = mace(votes)
    assert (result.label == truth).mean() > plain + 0.05
    assert result.competence[:3].min() > 0.7 > 0.3 > result.competence[3:].max()


def test_empty_votes_are_refused() -> None:
    empty = Votes.of([], [], [], n_items=2, n_annotators=1, n_labels=2)
    with pytest.raises(ValueError, match="at least one vote"):
        dawid_skene(empty)
    with pytest.raises(ValueError, match="at least one vote"):
        mace(empty)
    assert majority(empty).label.tolist() == [NO_LABEL, NO_LABEL]


def read_crowd(path: Path) -> tuple[Votes, np.ndarray]:
    with path.open(newline="") as file:
        rows = [(worker, task, int(label), int(gold)) for worker, task, label, gold, *_ in csv.reader(file)]
    workers, tasks = (list(dict.fromkeys(row[column] for row in rows)) for column in (0, 1))
    worker_no, task_no = ({name: i for i, name in enumerate(names)} for names in (workers, tasks))
    low = min(min(row[2:]) for row in rows)
    truth = np.zeros(len(tasks), dtype=np.int64)
    for _, task, _, gold in rows:
        truth[task_no[task]] = gold - low
    columns = ([task_no[r[1]] for r in rows], [worker_no[r[0]] for r in rows], [r[2] - low for r in rows])
    return Votes.of(*columns), truth


@pytest.mark.parametrize(("name", "plain", "skilled"), [("MS", 0.704, 0.769), ("SP_amt", 0.943, 0.944)])
def test_accuracy_on_crowds_with_known_truth(name: str, plain: float, skilled: float) -> None:
    votes, truth = read_crowd(shared_data("crowd-labels-truth") / f"{name}.csv")
    soft = majority(votes).soft
    at_best = soft >= soft.max(axis=1, keepdims=True) - 1e-9
    split = (at_best / at_best.sum(axis=1, keepdims=True))[np.arange(truth.size), truth]  # a tie counts by its share
    assert split.mean() == pytest.approx(plain, abs=0.0006)
    em = dawid_skene(votes, max_iterations=40)
    assert (em.label == truth).mean() == pytest.approx(skilled, abs=0.0006)
    assert (mace(votes).label == truth).mean() > plain - 0.01


@pytest.mark.slow
def test_agrees_with_crowd_kit() -> None:
    pd = pytest.importorskip("pandas")
    aggregation = pytest.importorskip("crowdkit.aggregation")
    votes, _ = read_crowd(shared_data("crowd-labels-truth") / "MS.csv")
    table = pd.DataFrame({"task": votes.item, "worker": votes.annotator, "label": votes.label})
    theirs = aggregation.DawidSkene(n_iter=20, tol=0).fit(table).probas_
    ours = dawid_skene(votes, smoothing=0.0, max_iterations=20, tolerance=-1)
    theirs = theirs.reindex(index=range(votes.n_items), columns=range(votes.n_labels)).to_numpy()
    assert (theirs.argmax(axis=1) == ours.posterior.argmax(axis=1)).mean() > 0.985
    shares = aggregation.MajorityVote().fit(table).probas_.fillna(0)
    shares = shares.reindex(index=range(votes.n_items), columns=range(votes.n_labels)).to_numpy()
    np.testing.assert_allclose(majority(votes).soft, shares)
