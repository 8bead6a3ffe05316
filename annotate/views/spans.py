"""Recorded spans as a page shows them: rows of a list, which the script paints over the texts.

A page that shows the spans of an annotation

1. renders each text with :func:`annotate.markdown.render_placed` in an element ``data-span-text="TARGET"``
   (a completion's index, or -1 - m for message m); a raw view beside it, with ``raw_placed``, carries it too;
2. includes ``components/_spans.html`` with ``spans=span_rows(question, answer, texts)``, any number of times (one list
   for each annotator); only lists that are visible are painted;
3. links ``css/questions/span.css`` and the module ``js/spans.js``, and dispatches ``spans:changed`` on the document
   after it showed or hid a list or a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.utils.translation import gettext

from feedback.questions import SpanQuestion

from ..markdown import raw_placed, render_placed

LETTERS = "ABCDEFGHIJKL"
SLOTS = 12
"""How many looks span types have: css/questions/span.css, js/annotating/spanpaint.js."""
MAX_QUOTE = 160


def place_texts(rows: Iterable[dict[str, Any]]) -> None:
    """Let spans be marked and shown on texts with a ``target``: ``html`` and ``raw`` say where each piece stands."""
    for row in rows:
        row.update(html=render_placed(row["raw"]), raw=raw_placed(row["raw"]), placed=True)


def span_rows(question: SpanQuestion, answer: Mapping[str, Any], texts: Mapping[int, str]) -> list[dict[str, Any]]:
    """The spans of an answer in the order of the texts. ``texts``: target → source."""
    kinds = [kind.name for kind in question.types]
    spans = sorted(answer.get("spans", []), key=lambda one: (_reading_order(one["target"]), one["start"], one["end"]))
    return [
        {
            **span,
            "place": place_of(span["target"]),
            "quote": quote(texts.get(span["target"], ""), span["start"], span["end"]),
            "slot": kinds.index(span["type"]) % SLOTS + 1 if span["type"] in kinds else SLOTS,
        }
        for span in spans
    ]


def missing_rows(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The information that completions lack; ``passage`` counts from 1 as the page does, or is None."""
    return [
        {
            "place": place_of(item["target"]),
            "text": item["text"],
            "passage": None if item.get("passage") is None else item["passage"] + 1,
        }
        for item in answer.get("missing", [])
    ]


def severity_scores(question: SpanQuestion, answer: Mapping[str, Any]) -> dict[int, float]:
    """The sum of the severities' weights by target, for targets with a span that has a severity."""
    scores: dict[int, float] = {}
    for span in answer.get("spans", []):
        if span.get("severity") in question.severities:
            scores[span["target"]] = scores.get(span["target"], 0) + question.severities[span["severity"]]
    return scores


def place_of(target: int) -> str:
    """The name of a text on the page: a completion's letter, or a message's number."""
    return LETTERS[target] if target >= 0 else gettext("Message %(n)s") % {"n": -target}


def media_names(kinds: Sequence[str]) -> list[str]:
    """What a page calls the media of a text, each kind counted from 1: ``Picture 1``, ``Sound 1``, ``Sound 2``."""
    words = {"image": gettext("Picture %(n)s"), "audio": gettext("Sound %(n)s"), "video": gettext("Video %(n)s")}
    return [words[kind] % {"n": kinds[: index + 1].count(kind)} for index, kind in enumerate(kinds)]


def quote(text: str, start: int, end: int) -> str:
    """``[start, end)`` of a text, in the middle shortened to MAX_QUOTE characters."""
    found = text[start:end]
    half = MAX_QUOTE // 2
    return found if len(found) <= MAX_QUOTE else f"{found[:half]} … {found[-half:]}"


def _reading_order(target: int) -> int:
    """Messages first, as they stand on the page, then completions."""
    return -target if target < 0 else 1_000_000 + target
