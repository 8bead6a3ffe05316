"""Recorded spans as a page shows them: rows of a list, which the script paints over the texts.

A page that shows the spans of an annotation

1. renders each text with :func:`annotate.markdown.render_placed` in an element ``data-span-text="TARGET"``
   (a completion's index, or -1 - m for message m); a raw view beside it, with ``raw_placed``, carries it too;
2. includes ``components/_spans.html`` with the rows of :func:`span_rows` and :func:`time_rows`, any number of times
   (one list for each annotator); only lists that are visible are painted;
3. links ``css/questions/span.css`` and the module ``js/spans.js``, and dispatches ``spans:changed`` on the document
   after it showed or hid a list or a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_noop

from feedback.content import media_kinds
from feedback.models import Instance
from feedback.questions import SpanQuestion

from ..markdown import raw_placed, render_placed

LETTERS = "ABCDEFGHIJKL"
SLOTS = 12
"""How many looks span types have: css/questions/span.css, js/annotating/spanpaint.js."""
MAX_QUOTE = 160
MEDIA_WORDS = {
    "image": gettext_noop("Picture %(n)s"),
    "audio": gettext_noop("Sound %(n)s"),
    "video": gettext_noop("Video %(n)s"),
}


def place_texts(rows: Iterable[dict[str, Any]]) -> None:
    """Let spans be marked and shown on texts with a ``target``: ``html`` and ``raw`` say where each piece stands."""
    for row in rows:
        row.update(html=render_placed(row["raw"]), raw=raw_placed(row["raw"]), placed=True)


def placed_or_raw(text: str) -> SafeString:
    """The text rendered so that parts of it can be pointed at, or as it is written where that cannot be."""
    html = render_placed(text)
    return html if not text.strip() or "data-at" in html else format_html('<pre class="raw">{}</pre>', raw_placed(text))


def span_rows(question: SpanQuestion, answer: Mapping[str, Any], instance: Instance) -> list[dict[str, Any]]:
    """The marked text of an answer in the order of the texts."""
    prompt = {-1 - number: text for number, text in enumerate(instance.prompt_texts())}
    texts = dict(enumerate(instance.completion_texts())) | prompt
    spans = sorted(answer.get("spans", []), key=lambda one: (_reading_order(one["target"]), one["start"], one["end"]))
    return [
        {
            **span,
            "place": place_of(span["target"]),
            "quote": quote(texts.get(span["target"], ""), span["start"], span["end"]),
            "slot": _slot(question, span),
        }
        for span in spans
    ]


def time_rows(question: SpanQuestion, answer: Mapping[str, Any], instance: Instance) -> list[dict[str, Any]]:
    """The marked times of an answer in the order of the texts; ``timed`` tells them from spans of text."""
    names = {target: media_names(kinds) for target, kinds in media_kinds(instance.prompt, instance.completions).items()}
    times = sorted(
        answer.get("times", []), key=lambda one: (_reading_order(one["target"]), one["media"], one["start_ms"])
    )
    return [
        {
            **time,
            "timed": True,
            "place": place_of(time["target"]),
            "name": names[time["target"]][time["media"]],
            "from": clock(time["start_ms"]),
            "to": clock(time["end_ms"]),
            "slot": _slot(question, time),
        }
        for time in times
    ]


def _slot(question: SpanQuestion, mark: Mapping[str, Any]) -> int:
    kinds = [kind.name for kind in question.types]
    return kinds.index(mark["type"]) % SLOTS + 1 if mark["type"] in kinds else SLOTS


def clock(ms: int) -> str:
    """A place in sound or video: ``1:02.5``."""
    return f"{ms // 60_000}:{ms % 60_000 / 1000:06.3f}".rstrip("0").rstrip(".")


def missing_rows(answer: Mapping[str, Any], instance: Instance) -> list[dict[str, Any]]:
    """The information that completions lack; ``passage`` counts from 1 as the page does, or is None; ``quote`` is the
    part of the passage that it points at, if it points at one."""
    passages = dict(enumerate(instance.passage_texts()))
    return [
        {
            "place": place_of(item["target"]),
            "text": item["text"],
            "passage": None if item.get("passage") is None else item["passage"] + 1,
            "quote": quote(passages.get(item.get("passage"), ""), item.get("start") or 0, item.get("end") or 0),
        }
        for item in answer.get("missing", [])
    ]


def severity_scores(question: SpanQuestion, answer: Mapping[str, Any]) -> dict[int, float]:
    """The sum of the severities' weights by target, for targets with a span that has a severity."""
    scores: dict[int, float] = {}
    for span in (*answer.get("spans", []), *answer.get("times", [])):
        if span.get("severity") in question.severities:
            scores[span["target"]] = scores.get(span["target"], 0) + question.severities[span["severity"]]
    return scores


def place_of(target: int) -> str:
    """The name of a text on the page: a completion's letter, or a message's number."""
    return LETTERS[target] if target >= 0 else gettext("Message %(n)s") % {"n": -target}


def media_names(kinds: Sequence[str]) -> list[str]:
    """What a page calls the media of a text, each kind counted from 1: ``Picture 1``, ``Sound 1``, ``Sound 2``."""
    return [gettext(MEDIA_WORDS[kind]) % {"n": kinds[: index + 1].count(kind)} for index, kind in enumerate(kinds)]


def quote(text: str, start: int, end: int) -> str:
    """``[start, end)`` of a text, in the middle shortened to MAX_QUOTE characters."""
    found = text[start:end]
    half = MAX_QUOTE // 2
    return found if len(found) <= MAX_QUOTE else f"{found[:half]} … {found[-half:]}"


def _reading_order(target: int) -> int:
    """Messages first, as they stand on the page, then completions."""
    return -target if target < 0 else 1_000_000 + target
