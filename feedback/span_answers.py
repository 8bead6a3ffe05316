"""What an answer to a span question holds, and what of it misfits the question or the instance. Pure.

* ``spans``: marked text ``{"target": 0, "start": 3, "end": 9, "type": "Wrong", …}``, in code points of the source;
* ``times``: marked sound or video ``{"target": 0, "media": 1, "start_ms": 1200, "end_ms": 2400, "type": …}``; only in
  answers that have some;
* ``missing``: information that a completion lacks ``{"target": 0, "text": "the year", "passage": 1, …}``, with
  ``start`` and ``end`` where it points at a part of the passage.

A ``target`` is a completion's index, or -1 - m for message m of the prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from feedback.content import Shown
from feedback.questions import SpanQuestion, Strict
from feedback.wording import Sentence, not_one_of

MAX_MS = 24 * 60 * 60 * 1000
MAX_SENTENCE = 2**31 - 2  # exports count from 1, in 32 bits


class Mark(Strict):
    """What is said of a marked place."""

    target: int
    type: str
    subtype: str = ""
    severity: str = ""
    comment: str = Field(default="", max_length=4000)
    confidence: int | None = Field(default=None, ge=1, le=5)


class Span(Mark):
    """``[start, end)`` of a text, in code points of its source."""

    start: int = Field(ge=0)
    end: int = Field(ge=1)


class TimeSpan(Mark):
    """``[start_ms, end_ms)`` of the sound or video that stands at ``media`` among the media of its text, from 0."""

    media: int = Field(ge=0)
    start_ms: int = Field(ge=0)
    end_ms: int = Field(ge=1, le=MAX_MS)


class MissingItem(Strict):
    """Information a completion lacks; ``passage`` is the index of the passage that holds it, when there is one, and
    ``[start, end)`` the part of it, in code points of :func:`feedback.content.passage_text`; ``sentences`` are the
    indexes of its sentences, -1 for its title."""

    target: int = Field(ge=0)
    text: str = Field(max_length=4000)
    passage: int | None = Field(default=None, ge=0)
    sentences: list[Annotated[int, Field(ge=-1, le=MAX_SENTENCE)]] = Field(default=[], max_length=1000)
    start: int | None = Field(default=None, ge=0)
    end: int | None = Field(default=None, ge=1)

    @model_serializer(mode="wrap")
    def _without_no_part(self, dumped: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {
            name: value for name, value in dumped(self).items() if name not in ("start", "end") or value is not None
        }


class SpanAnswer(Strict):
    spans: list[Span] = Field(default=[], max_length=5000)
    missing: list[MissingItem] = Field(default=[], max_length=200)
    times: list[TimeSpan] = Field(default=[], max_length=5000)

    @model_serializer(mode="wrap")
    def _without_no_times(self, dumped: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dumped(self).items() if name != "times" or value}


def span_misfits(
    question: SpanQuestion,
    answer: SpanAnswer,
    shown: Shown,
) -> dict[str, str]:
    """A sentence for each path that misfits what the question asks or what the instance shows."""
    texts = dict(enumerate(shown.completions))
    if question.on_prompt:
        texts |= {-1 - number: text for number, text in enumerate(shown.prompt)}
    errors = _text_misfits(question, answer.spans, texts)
    errors |= _time_misfits(question, answer.times, texts, shown.media)
    return errors | _missing_misfits(question, answer.missing, shown)


def _text_misfits(question: SpanQuestion, spans: Sequence[Span], texts: Mapping[int, str]) -> dict[str, str]:
    errors: dict[str, str] = {}
    for i, span in enumerate(spans):
        text = texts.get(span.target)
        if text is None:
            errors[f"spans.{i}.target"] = Sentence("no such text")
        elif not span.start < span.end <= len(text):
            errors[f"spans.{i}.end"] = Sentence("needs start < end <= %(n)s code points", n=len(text))
        errors |= _said_misfits(question, span, f"spans.{i}")
    if not question.allow_overlap and not errors:
        places = [(span.target, span.start, span.end) for span in spans]
        words = Sentence("overlaps another span of this text, which this question does not allow")
        errors = {f"spans.{i}.start": words for i in _overlaps(places)}
    return errors


def _time_misfits(
    question: SpanQuestion,
    times: Sequence[TimeSpan],
    texts: Mapping[int, str],
    media: Mapping[int, Sequence[str]] | None,
) -> dict[str, str]:
    if times and not question.on_media:
        return {"times": Sentence("this question does not ask for times in sound or video")}
    errors: dict[str, str] = {}
    for i, time in enumerate(times):
        kinds = None if media is None else media.get(time.target, ())
        if time.target not in texts:
            errors[f"times.{i}.target"] = Sentence("no such text")
        elif kinds is not None and not (time.media < len(kinds) and kinds[time.media] in ("audio", "video")):
            errors[f"times.{i}.media"] = Sentence(
                "this text shows no sound or video number %(n)s, counted from 0", n=time.media
            )
        if not time.start_ms < time.end_ms:
            errors[f"times.{i}.end_ms"] = Sentence("needs start_ms < end_ms")
        errors |= _said_misfits(question, time, f"times.{i}")
    if not question.allow_overlap and not errors:
        places = [((time.target, time.media), time.start_ms, time.end_ms) for time in times]
        words = Sentence("overlaps another span of this sound or video, which this question does not allow")
        errors = {f"times.{i}.start_ms": words for i in _overlaps(places)}
    return errors


def _said_misfits(question: SpanQuestion, mark: Mark, path: str) -> dict[str, str]:
    errors: dict[str, str] = {}
    types = {span_type.name: span_type for span_type in question.types}
    if mark.type not in types:
        errors[f"{path}.type"] = not_one_of(mark.type, types)
    elif mark.subtype and mark.subtype not in types[mark.type].subtypes:
        errors[f"{path}.subtype"] = Sentence(
            "%(subtype)s is no subtype of %(type)s", subtype=repr(mark.subtype), type=repr(mark.type)
        )
    if mark.severity and mark.severity not in question.severities:
        errors[f"{path}.severity"] = not_one_of(mark.severity, question.severities)
    return errors


def _overlaps(places: Iterable[tuple[object, int, int]]) -> list[int]:
    """The indexes of places ``(where, start, end)`` that begin before one that starts earlier in the same has ended."""
    found: list[int] = []
    ends: dict[object, int] = {}
    for i, (where, start, end) in sorted(enumerate(places), key=lambda one: one[1][1:]):
        if start < ends.get(where, 0):
            found.append(i)
        ends[where] = max(end, ends.get(where, 0))
    return found


def _missing_misfits(
    question: SpanQuestion,
    items: Sequence[MissingItem],
    shown: Shown,
) -> dict[str, str]:
    if items and not question.allow_missing:
        return {"missing": Sentence("this question does not ask for missing information")}
    errors: dict[str, str] = {}
    last, passages = len(shown.completions) - 1, shown.passages
    for i, item in enumerate(items):
        if item.target > last:
            errors[f"missing.{i}.target"] = Sentence("completions are numbered 0 to %(last)s", last=last)
        if item.passage is not None and passages is not None and item.passage >= len(passages):
            words = Sentence("this instance has %(n)s passages, numbered from 0", n=len(passages))
            errors[f"missing.{i}.passage"] = words
        elif part := _part_misfit(item, passages):
            errors[f"missing.{i}.end"] = part
        errors |= _sentence_misfits(item, shown.sentences, f"missing.{i}.sentences")
        if not item.text.strip() and item.passage is None:
            errors[f"missing.{i}.text"] = Sentence("say what is missing, or name the passage that says it")
    return errors


def _sentence_misfits(item: MissingItem, counts: Sequence[int] | None, path: str) -> dict[str, str]:
    if counts is None or item.passage is None or item.passage >= len(counts):
        return {}
    count = counts[item.passage]
    words = Sentence("this passage has %(n)s sentences, numbered from 0; -1 is its title", n=count)
    return {f"{path}.{j}": words for j, sentence in enumerate(item.sentences) if sentence >= count}


def _part_misfit(item: MissingItem, passages: Sequence[str] | None) -> str:
    """What is wrong with the part of a passage that an item points at, as a sentence; empty when nothing is."""
    if item.start is None and item.end is None:
        return ""
    if item.passage is None or item.start is None or item.end is None:
        return Sentence("a part needs passage, start and end")
    length = item.end if passages is None else len(passages[item.passage])
    if item.start < item.end <= length:
        return ""
    return Sentence("needs start < end <= %(n)s code points", n=length)
