"""Languages and skills: what instances ask for, what people name, and what is left where the two do not meet."""

from __future__ import annotations

from typing import Any

import pytest

from feedback.abilities import asked_by, language_tag, language_tags, skill_name
from feedback.exceptions import InvalidInput
from feedback.models import AuditEvent, Instance, Membership, Task
from feedback.services import labelling, people, queue
from feedback.text import InvalidText
from tests.conftest import Cast


@pytest.mark.parametrize(
    ("raw", "tag"),
    [("de", "de"), (" pt_BR ", "pt-br"), ("zh-Hant-TW", "zh-hant-tw"), ("und", ""), ("mul", ""), ("zxx", ""), ("", "")],
)
def test_a_language_tag_has_one_spelling(raw: str, tag: str) -> None:
    assert language_tag(raw) == tag


@pytest.mark.parametrize("raw", ["German", "d", "de-", "de--at", "de at", "dé", "de%", "de\u0000", "de-" + "a" * 9])
def test_what_is_no_language_tag_is_refused(raw: str) -> None:
    with pytest.raises(InvalidText, match="is not a language tag"):
        language_tag(raw)


def test_a_skill_has_one_spelling_and_no_comma() -> None:
    assert skill_name("  Internal \n Medicine ") == "internal medicine"
    for raw in ("law, tax", "x" * 41, "a\u0000b"):
        with pytest.raises(InvalidText):
            skill_name(raw, "skill")


def test_a_person_names_at_most_twenty_languages() -> None:
    assert language_tags(["de", "EN", "de", ""]) == ["de", "en"]
    with pytest.raises(InvalidText, match="are 21; at most 20"):
        language_tags([f"a{chr(97 + n)}" for n in range(21)])


@pytest.mark.parametrize(
    ("meta", "asked"),
    [
        ({"lang": "DE", "skill": "Law"}, ("de", "law")),
        ({"meta": {"lang": "de"}, "lang": "en"}, ("de", "")),
        ({"lang": ["de"], "skill": 3, "meta": "x"}, ("", "")),
        ({"lang": "", "skill": None}, ("", "")),
    ],
)
def test_the_metadata_says_what_a_row_asks_for(meta: dict[str, Any], asked: tuple[str, str]) -> None:
    assert asked_by(meta) == asked


def test_where_the_metadata_is_silent_a_text_says_its_language() -> None:
    texts = [{"content": "x"}, {"lang": "pt-BR"}, {"lang": "en"}]
    assert asked_by({}, texts) == ("pt-br", "")
    assert asked_by({"lang": "de"}, texts) == ("de", "")
    assert asked_by({}, [{"lang": "Portuguese"}]) == ("", "")


def test_what_a_manager_says_is_kept_once_and_told_in_the_audit(cast: Cast) -> None:
    member = Membership.objects.get(user=cast.annotator)
    people.set_abilities(member, languages=["EN", "de", "de"], skills=[" Law "], actor=cast.manager)
    member.refresh_from_db()
    assert (member.languages, member.skills) == (["de", "en"], ["law"])
    people.set_abilities(member, languages=["de", "en"], actor=cast.manager)
    event = AuditEvent.objects.get(action="member.abilities")
    assert event.details == {"languages": ["de", "en"], "skills": ["law"]}
    with pytest.raises(InvalidInput) as refused:
        people.set_abilities(member, languages=["fr"], skills=["a,b"], actor=cast.manager)
    assert list(refused.value.errors) == ["skills"]
    member.refresh_from_db()
    assert member.languages == ["de", "en"]


def ask(cast: Cast, *fields: dict[str, str]) -> None:
    """Let the first instances ask for these, and take the others away."""
    keys = list(cast.task.instances.order_by("pk").values_list("pk", flat=True))
    for pk, asked in zip(keys, fields, strict=False):
        Instance.objects.filter(pk=pk).update(**asked)
    Instance.objects.filter(pk__in=keys[len(fields) :]).delete()


def test_what_is_left_is_told_with_what_it_asks_for(cast: Cast) -> None:
    ask(cast, {"lang": "de-at"}, {"lang": "en", "skill": "law"}, {"lang": "fr"}, {"lang": "en"})
    Membership.objects.filter(user=cast.annotator).update(languages=["en"])
    assert queue.unnamed(cast.task, cast.annotator) == queue.Unnamed(3, False, ["de-at", "fr"], ["law"])
    assert [row.unnamed for row in labelling.queue_of(cast.annotator)] == [0]  # something is left to do first
    ask(cast, {"lang": "de-at"}, {"lang": "en", "skill": "law"}, {"lang": "fr"})
    assert [(row.left, row.unnamed) for row in labelling.queue_of(cast.annotator)] == [(0, 3)]


def test_what_was_lent_before_is_not_counted_as_left(cast: Cast) -> None:
    ask(cast, {"lang": "de"}, {"lang": "de"})
    queue.next_assignment(cast.task, cast.annotator)
    Membership.objects.filter(user=cast.annotator).update(languages=["en"])
    found = queue.unnamed(cast.task, cast.annotator)
    assert found
    assert found.count == 1
    Membership.objects.filter(user=cast.annotator).update(languages=[])
    assert queue.unnamed(cast.task, cast.annotator) is None


def test_a_task_that_asks_everybody_for_more_counts_all_of_it(cast: Cast) -> None:
    ask(cast, {}, {"lang": "de"})
    Task.objects.filter(pk=cast.task.pk).update(languages=["de-at"], skills=["law"])
    cast.task.refresh_from_db()
    Membership.objects.filter(user=cast.annotator).update(languages=["de"])
    assert queue.unnamed(cast.task, cast.annotator) == queue.Unnamed(2, False, [], ["law"])
