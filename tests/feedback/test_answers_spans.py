"""What the server takes as marked spans and missing information."""

from __future__ import annotations

from typing import Any

import pytest

from feedback.answers import check_answers
from feedback.content import Shown
from feedback.questions import InvalidAnswer, parse_questions

TEXTS = ["e\u0301😀 first", "second"]
PROMPT = ["question", ""]


PASSAGES = ["Salad 😀 is green.", "Nero."]
MEDIA = {0: ["image", "audio"], -1: ["video"]}


def errors_of(
    answer: dict[str, Any],
    *,
    partial: bool = False,
    passages: list[str] | None = PASSAGES,
    media: dict[int, list[str]] | None = MEDIA,
    sentences: list[int] | None = None,
    **options: Any,
) -> set[str]:
    question = {
        "kind": "span",
        "name": "errors",
        "title": "T",
        "types": [{"name": "Bad", "subtypes": ["x"]}, {"name": "Odd"}],
        "severities": {"minor": 1, "major": 5},
        "allow_missing": True,
        **options,
    }
    questions = parse_questions([question])
    try:
        shown = Shown(TEXTS, PROMPT, passages, sentences, media)
        check_answers(questions, {"errors": answer}, shown, partial=partial)
    except InvalidAnswer as error:
        return set(error.errors)
    return set()


def span(start: int, end: int, target: int = 0, **more: Any) -> dict[str, Any]:
    return {"target": target, "start": start, "end": end, "type": "Bad", **more}


def spans(*found: dict[str, Any]) -> dict[str, Any]:
    return {"spans": list(found)}


def test_bounds_are_code_points_of_the_source() -> None:
    assert len(TEXTS[0]) == 9
    assert errors_of(spans(span(0, 9), span(0, 6, target=1))) == set()
    assert errors_of(spans(span(0, 10))) == {"errors.spans.0.end"}
    assert errors_of(spans(span(0, 6, target=1), span(3, 3))) == {"errors.spans.1.end"}
    assert errors_of(spans(span(4, 3))) == {"errors.spans.0.end"}


@pytest.mark.parametrize("target", [2, -1, -3])
def test_a_span_is_on_a_text_that_is_asked_about(target: int) -> None:
    assert errors_of(spans(span(0, 1, target=target))) == {"errors.spans.0.target"}


def test_a_span_on_the_prompt_needs_a_question_that_asks_for_it() -> None:
    assert errors_of(spans(span(0, 8, target=-1)), on_prompt=True) == set()
    assert errors_of(spans(span(0, 9, target=-1)), on_prompt=True) == {"errors.spans.0.end"}
    assert errors_of(spans(span(0, 1, target=-2)), on_prompt=True) == {"errors.spans.0.end"}
    assert errors_of(spans(span(0, 1, target=-3)), on_prompt=True) == {"errors.spans.0.target"}


def test_type_subtype_and_severity_are_those_of_the_question() -> None:
    assert errors_of(spans(span(0, 1, subtype="x", severity="major", confidence=5, comment="why"))) == set()
    assert errors_of(spans(span(0, 1) | {"type": "No"})) == {"errors.spans.0.type"}
    assert errors_of(spans(span(0, 1, subtype="y"))) == {"errors.spans.0.subtype"}
    assert errors_of(spans(span(0, 1, subtype="x") | {"type": "Odd"})) == {"errors.spans.0.subtype"}
    assert errors_of(spans(span(0, 1, severity="huge"))) == {"errors.spans.0.severity"}
    assert errors_of(spans(span(0, 1, confidence=6))) == {"errors.spans.0.confidence"}


def test_spans_overlap_only_where_the_question_allows_it() -> None:
    several = spans(span(4, 6), span(0, 5), span(5, 6), span(4, 6, target=1))
    assert errors_of(several) == set()
    assert errors_of(several, allow_overlap=False) == {"errors.spans.0.start", "errors.spans.2.start"}
    assert errors_of(spans(span(3, 5), span(0, 3), span(0, 3, target=1)), allow_overlap=False) == set()


def test_a_required_question_needs_a_mark_or_something_missing() -> None:
    assert errors_of(spans(), required=True) == {"errors.spans"}
    assert errors_of(spans(), required=True, partial=True) == set()
    assert errors_of(spans(), required=False) == set()
    assert errors_of(spans(span(0, 1)), required=True) == set()
    assert errors_of({"missing": [{"target": 1, "text": "a date"}]}, required=True) == set()


def test_missing_information_points_at_a_completion_and_a_passage_that_are_there() -> None:
    def missing(**item: Any) -> dict[str, Any]:
        return {"missing": [{"target": 0, "text": "a date", **item}]}

    assert errors_of(missing(passage=1, sentences=[0])) == set()
    assert errors_of(missing(passage=1, text="")) == set()
    assert errors_of(missing(passage=2)) == {"errors.missing.0.passage"}
    assert errors_of(missing(passage=0), passages=[]) == {"errors.missing.0.passage"}
    assert errors_of(missing(passage=7), passages=None) == set()
    assert errors_of(missing(target=2)) == {"errors.missing.0.target"}
    assert errors_of(missing(text=" ")) == {"errors.missing.0.text"}
    assert errors_of(missing(), allow_missing=False) == {"errors.missing"}


@pytest.mark.parametrize("wrong", [-2, 2**31 - 1, 10**30, -(10**30)])
def test_the_sentences_of_missing_information_fit_the_exports(wrong: int) -> None:
    def missing(*sentences: int, passage: int | None = 0) -> dict[str, Any]:
        return {"missing": [{"target": 0, "text": "a date", "passage": passage, "sentences": list(sentences)}]}

    assert errors_of(missing(-1, 2**31 - 2)) == set()
    assert errors_of(missing(0, wrong)) == {"errors.missing.0.sentences.1"}
    assert errors_of(missing(*[0] * 1000)) == set()
    assert errors_of(missing(*[0] * 1001)) == {"errors.missing.0.sentences"}
    counts = [2, 0]
    assert errors_of(missing(-1, 1, 2), sentences=counts) == {"errors.missing.0.sentences.2"}
    assert errors_of(missing(-1, 0, passage=1), sentences=counts) == {"errors.missing.0.sentences.1"}
    assert errors_of(missing(5, passage=None), sentences=counts) == set()
    assert errors_of(missing(5, passage=2), sentences=counts) == {"errors.missing.0.passage"}


def test_a_part_of_a_passage_lies_within_it() -> None:
    def part(**item: Any) -> dict[str, Any]:
        return {"missing": [{"target": 0, "text": "", "passage": 0, **item}]}

    assert errors_of(part(start=0, end=17)) == set()
    for wrong in ({"start": 0, "end": 18}, {"start": 5, "end": 5}, {"start": 3}, {"end": 3}):
        assert errors_of(part(**wrong)) == {"errors.missing.0.end"}
    assert errors_of(part(start=0, end=3, passage=None)) == {"errors.missing.0.end", "errors.missing.0.text"}
    assert errors_of(part(start=0, end=3, passage=2)) == {"errors.missing.0.passage"}
    assert errors_of(part(start=0, end=99, passage=7), passages=None) == set()


def time(start_ms: int, end_ms: int, **more: Any) -> dict[str, Any]:
    return {"target": 0, "media": 1, "start_ms": start_ms, "end_ms": end_ms, "type": "Bad", **more}


def times(*found: dict[str, Any]) -> dict[str, Any]:
    return {"times": list(found)}


def test_times_are_marked_in_sound_and_video_that_is_asked_about() -> None:
    assert errors_of(times(time(0, 1)), on_media=True) == set()
    assert errors_of(times(time(0, 1))) == {"errors.times"}
    assert errors_of(times(time(0, 1, media=0)), on_media=True) == {"errors.times.0.media"}  # a picture
    assert errors_of(times(time(0, 1, media=2)), on_media=True) == {"errors.times.0.media"}
    assert errors_of(times(time(0, 1, target=1)), on_media=True) == {"errors.times.0.media"}
    assert errors_of(times(time(0, 1, target=-1, media=0)), on_media=True) == {"errors.times.0.target"}
    assert errors_of(times(time(0, 1, target=-1, media=0)), on_media=True, on_prompt=True) == set()
    assert errors_of(times(time(0, 1, target=1)), on_media=True, media=None) == set()


def test_a_time_has_a_length_and_says_what_the_question_offers() -> None:
    assert errors_of(times(time(5, 5)), on_media=True) == {"errors.times.0.end_ms"}
    assert errors_of(times(time(-1, 5)), on_media=True) == {"errors.times.0.start_ms"}
    assert errors_of(times(time(0, 86_400_001)), on_media=True) == {"errors.times.0.end_ms"}
    assert errors_of(times(time(0, 5) | {"start_ms": 0.5}), on_media=True) == {"errors.times.0.start_ms"}
    assert errors_of(times(time(0, 5, subtype="x", severity="major", comment="hiss")), on_media=True) == set()
    assert errors_of(times(time(0, 5, subtype="y", severity="huge")), on_media=True) == {
        "errors.times.0.subtype",
        "errors.times.0.severity",
    }


def test_times_of_one_sound_overlap_only_where_the_question_allows_it() -> None:
    several = times(time(400, 600), time(0, 500), time(0, 500, target=-1, media=0))
    assert errors_of(several, on_media=True, on_prompt=True) == set()
    assert errors_of(several, on_media=True, on_prompt=True, allow_overlap=False) == {"errors.times.0.start_ms"}


def test_an_answer_holds_times_and_parts_only_where_there_are_some() -> None:
    question = {"kind": "span", "name": "e", "title": "T", "types": [{"name": "Bad"}], "on_media": True}
    questions = parse_questions([{**question, "allow_missing": True}])
    shown = Shown(TEXTS, passages=PASSAGES, media=MEDIA)
    plain = {"target": 0, "text": "x", "passage": None, "sentences": []}
    assert check_answers(questions, {"e": {"missing": [plain]}}, shown) == {"e": {"spans": [], "missing": [plain]}}
    pointing = plain | {"passage": 0, "start": 1, "end": 2}
    said = {"spans": [], "missing": [pointing], "times": [time(1, 2, subtype="", severity="", comment="")]}
    said["times"][0]["confidence"] = None
    assert check_answers(questions, {"e": said}, shown) == {"e": said}
