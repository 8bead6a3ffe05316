"""A reviewer's decision in a dataset version, and two reviewers at once."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from feedback.exceptions import WrongState
from feedback.models import Adjudication, Annotation, Instance
from feedback.services import adjudicating
from tests.conftest import Cast, make_cast
from tests.feedback.test_datasets_service import A, B, freeze, instances, rows, say

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _files(settings: Any, tmp_path: Path) -> None:
    settings.FILES_DIR = tmp_path / "files"


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast(instances=4)


@pytest.fixture
def decided(cast: Cast) -> list[Any]:
    """Two people say A and one B of the first; a reviewer says B. The second has two votes for A."""
    first, second, *_ = instances(cast)
    for who, value in (("x", A), ("y", A), ("z", B)):
        say(cast, first, value, who)
    say(cast, first, A, "gpt", "judge", p_a=0.9)
    say(cast, second, A, "x")
    say(cast, second, A, "y")
    vote = first.annotations.get(annotator__name="z")
    adjudicating.take(first, vote, actor=cast.reviewer, reason="z read it to the end")
    return [first, second]


def test_the_decision_wins_and_the_card_says_so(cast: Cast, decided: list[Any]) -> None:
    version = freeze(cast, shapes=["preference", "raw"], min_annotations=2)
    one, two = rows(version)
    assert (one["chosen"], one["annotator_count"]) == ("Second 0", 1)
    assert (two["chosen"], two["annotator_count"]) == ("First 1", 2)
    assert version.card["counts"]["adjudicated"] == 1
    assert any("a reviewer decided" in note for note in version.card["notes"])
    raw = rows(version, "raw")
    assert [row["adjudicated"] for row in raw].count(True) == 1
    assert len(raw) == 7
    two_agree = next(one for one in version.card["agreement"] if one["measure"] == "Two people agree")
    assert two_agree["pairs"] == 4


@pytest.mark.parametrize("spec", [{"adjudicated": False}, {"aggregation": "dawid-skene", "adjudicated": False}])
def test_the_votes_speak_where_decisions_do_not_count(cast: Cast, decided: list[Any], spec: dict[str, Any]) -> None:
    version = freeze(cast, shapes=["preference", "raw"], **spec)
    assert [row["chosen"] for row in rows(version)] == ["First 0", "First 1"]
    assert not any(row["adjudicated"] for row in rows(version, "raw"))


def test_a_decision_is_a_persons_and_no_judges(cast: Cast, decided: list[Any]) -> None:
    version = freeze(cast, sources="judge")
    (one,) = rows(version)
    assert (one["chosen"], one["source"]) == ("First 0", "judge")
    assert version.card["counts"]["adjudicated"] == 0


def test_a_decision_wins_over_a_model_of_annotators(cast: Cast, decided: list[Any]) -> None:
    assert [row["chosen"] for row in rows(freeze(cast, aggregation="dawid-skene"))] == ["Second 0", "First 1"]


def test_what_was_taken_back_counts_no_more(cast: Cast, decided: list[Any]) -> None:
    adjudicating.undo(Adjudication.objects.get(), actor=cast.manager)
    assert [row["chosen"] for row in rows(freeze(cast))] == ["First 0", "First 1"]


@pytest.mark.database
def test_of_two_reviewers_at_once_one_decides(cast: Cast, decided: list[Any]) -> None:
    instance = decided[1]
    votes = list(instance.annotations.live())
    gate, ended = threading.Barrier(2), []

    def decide(actor: Any, vote: Annotation) -> None:
        try:
            gate.wait()
            adjudicating.take(Instance.objects.get(pk=instance.pk), vote, actor=actor, reason="mine")
            ended.append("decided")
        except WrongState:
            ended.append("refused")
        finally:
            connection.close()

    threads = [
        threading.Thread(target=decide, args=pair) for pair in zip((cast.owner, cast.manager), votes, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ended) == ["decided", "refused"]
    assert Adjudication.objects.filter(instance=instance).count() == 1
    assert instance.annotations.filter(state="decided").count() == 1
