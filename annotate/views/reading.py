"""What the templates of the reading room get: texts as safe HTML in the order of the screen, and the page's data."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext, ngettext

from feedback.content import Shown, media_of, passage_sentences, passages_of, text_of
from feedback.models import Annotation, Assignment, GuidelineVersion, MediaFile, Task, User
from feedback.question_changes import carry_over
from feedback.questions import parse_questions
from feedback.services import labelling, media, queue

from ..addresses import address
from ..languages import needed
from ..markdown import render
from .spans import media_names, place_texts, placed_or_raw

LETTERS = "ABCDEFGHIJKL"
_QUESTIONS = "annotate/questions"
SAME = {"preference", "choice"}
"""Kinds whose form looks the same whatever instance it asks about."""
MAX_TURNS, LAST_TURNS = 12, 6
"""Of a chat with more turns only the last ones stand open."""
LONG = 20_000
"""Code points from which a field does not grow with its text."""
_LANGUAGE = re.compile(r"^[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*$")


def work_context(assignment: Assignment, user: User) -> dict[str, Any]:
    """One assignment, to be labelled."""
    task = assignment.task
    draft = {
        "answers": assignment.draft,
        "version": assignment.draft_version,
        "active_ms": assignment.active_ms,
    }
    return texts_of(assignment, assignment.questions) | {
        "progress": queue.progress_in(assignment, user),
        "set_aside": set_aside_rows(assignment),
        "page": page_of(
            assignment,
            assignment.questions,
            draft,
            {name: _url(name, assignment) for name in ("draft", "submit", "hand-back")}
            | {"back": _beside(task, "back"), "prepared": address("prepared", task.public_id)},
        ),
    }


def prepared_context(assignment: Assignment, user: User) -> dict[str, Any]:
    """The same for the instance after the one in hand, as it will be when that one is submitted."""
    context = work_context(assignment, user)
    context["progress"].done += 1
    context["page"]["renew"] = True
    return context


def edit_context(annotation: Annotation, *, from_room: bool) -> dict[str, Any]:
    """A submitted annotation on the same screen, to be changed; ``from_room``: on the way back from labelling."""
    assignment = annotation.assignment
    assert assignment is not None
    draft = {
        "answers": _fitting(annotation, assignment.draft or annotation.answers),
        "version": assignment.draft_version,
        "active_ms": annotation.active_ms,
    }
    urls = {
        "draft": address("annotation-draft", annotation.public_id),
        "submit": address("annotation-edit", annotation.public_id),
        "next": address("work", annotation.task.public_id) if from_room else reverse("history"),
        "back": _beside(annotation.task, "back", annotation),
        "forward": _beside(annotation.task, "forward", annotation),
    }
    return texts_of(assignment, annotation.task.questions) | {
        "page": page_of(assignment, annotation.task.questions, draft, urls),
        "editing": True,
    }


def set_aside_rows(assignment: Assignment) -> list[tuple[str, str]]:
    """The draft answers that a change of the questions left without a place: the question's name, the answer."""
    return [(name, json.dumps(answer, ensure_ascii=False, indent=2)) for name, answer in assignment.set_aside.items()]


def _fitting(annotation: Annotation, answers: dict[str, Any]) -> dict[str, Any]:
    """The answers that the present questions have a place for; a change is made under these."""
    task, instance = annotation.task, annotation.instance
    before = parse_questions(task.questions_of(annotation.questions_version))
    shown = Shown(instance.completion_texts(), instance.prompt_texts())
    return carry_over(before, task.parsed_questions, answers, shown)[0]


def texts_of(assignment: Assignment, questions: list[dict[str, Any]]) -> dict[str, Any]:
    """What the page shows of an assignment: prompt, completions in its order, questions, guideline."""
    task, instance = assignment.task, assignment.instance
    prompt = [message_row(index, message, instance.meta) for index, message in enumerate(instance.prompt)]
    completions = completion_rows(instance.completions, assignment.order, instance.meta)
    show_media(task, [*instance.prompt, *instance.completions], [*prompt, *completions])
    marked = [question for question in questions if question["kind"] == "span"]
    if marked:
        place_texts(completions)
    if any(question.get("on_prompt") for question in marked):
        place_texts(prompt)
    return {
        "task": task,
        "assignment": assignment,
        "turns": turns_of(prompt),
        "passages": passage_rows(instance.meta, placed=any(question.get("allow_missing") for question in marked)),
        "completions": completions,
        "letters": LETTERS[: len(completions)],
        "questions": question_rows(questions, len(instance.completions)),
        "guideline": guideline_row(assignment.guideline),
        "reasons_skip": partial(reason_rows, queue.SKIP_REASONS),
        "reasons_flag": partial(reason_rows, queue.FLAG_REASONS),
    }


def reason_rows(reasons: Mapping[str, str]) -> list[tuple[str, str]]:
    """The reasons of a dialog, each with its words; asked for only where the dialog is not kept already."""
    return [(code, gettext(words)) for code, words in reasons.items()]


def show_media(task: Task, holders: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> None:
    """Say in each row of a message or completion which media files to show: ``kind``, ``target`` and ``index`` among
    the media of the row, ``name`` and ``url`` (None: the task has no such file, which ``gone`` says). The name counts,
    ``Sound 1``: a file's own name may tell which model made it. ``alt`` is what the import says of it."""
    urls = {name: _media_url(task, file) for name, file in media.named_in(task, holders).items()}
    for row in rows:
        parts = row.pop("parts")
        names = media_names([part["type"] for part in parts])
        row["media"] = [
            {
                "kind": part["type"],
                "target": row["target"],
                "index": index,
                "name": name,
                "alt": part.get("alt", ""),
                "url": urls.get(part["file"]),
                "gone": "" if part["file"] in urls else gettext("%(name)s is not here any more.") % {"name": name},
            }
            for index, (part, name) in enumerate(zip(parts, names, strict=True))
        ]


def _media_url(task: Task, file: MediaFile) -> str:
    return reverse("media-file", args=[task.project.public_id, task.public_id, file.public_id])


def question_rows(questions: Sequence[dict[str, Any]], n_completions: int) -> list[dict[str, Any]]:
    """The questions with the template that draws each; ``keys`` explains the keys of a kind, once for each kind.

    A preference is asked of two completions; of another number the screen says why it is not.
    """
    rows: list[dict[str, Any]] = []
    explained: set[str] = set()
    for question in questions:
        kind = question["kind"]
        asked = kind != "preference" or n_completions == 2
        template = f"{_QUESTIONS}/_{kind if asked else 'unfit'}.html"
        keys = f"{_QUESTIONS}/keys/_{kind}.html"
        shown = {"template": template, "keys": keys if asked and kind not in explained else None}
        rows.append({**question, **shown, "same": asked and kind in SAME})
        if kind == "rating":
            rows[-1]["scales"] = [scale_row(scale) for scale in question["scales"]]
        explained |= {kind} if asked else set()
    return rows


def scale_row(scale: dict[str, Any]) -> dict[str, Any]:
    """A scale with its values, each with its label, and the words at its ends."""
    labels: list[str] = scale.get("labels") or []
    values = range(scale["low"], scale["high"] + 1)
    each = labels if len(labels) == len(values) else [""] * len(values)
    return {
        **scale,
        "values": list(zip(values, each, strict=True)),
        "ends": [labels[0], labels[-1]] if labels else None,
    }


def page_of(
    assignment: Assignment, questions: list[dict[str, Any]], draft: dict[str, Any], urls: dict[str, str]
) -> dict[str, Any]:
    """The data block that the room's script reads."""
    others = {name: _url(name, assignment) for name in ("skip", "flag", "undo")}
    return {
        "assignment": str(assignment.public_id),
        "order": assignment.order,
        "questions": questions,
        "draft": draft,
        "urls": {"next": address("work", assignment.task.public_id)} | others | urls,
        "prepared_seconds": queue.PREPARED_SECONDS,
        "lease_seconds": assignment.task.lease_minutes * 60,
    }


def _beside(task: Task, way: str, than: Annotation | None = None) -> str:
    query = {"way": way} | ({"than": str(than.public_id)} if than else {})
    return f"{address('beside', task.public_id)}?{urlencode(query)}"


def _url(name: str, assignment: Assignment) -> str:
    return address(name, assignment.public_id)


def turns_of(prompt: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The messages by where they stand: ``system`` first; of more than MAX_TURNS the older are ``earlier``."""
    system = [row for row in prompt if row["role"] == "system"]
    turns = [row for row in prompt if row["role"] != "system"]
    shown = turns if len(turns) <= MAX_TURNS else turns[-LAST_TURNS:]
    earlier = turns[: len(turns) - len(shown)]
    words = ngettext("Show %(n)s earlier turn", "Show %(n)s earlier turns", len(earlier)) % {"n": len(earlier)}
    return {"system": system, "earlier": earlier, "shown": shown, "show_earlier": words if earlier else ""}


def message_row(index: int, message: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    """A chat message as shown. A tool's words are ``as_written``: they are data, not markdown."""
    role = str(message.get("role", ""))
    calls = [_call_row(call) for call in message.get("tool_calls", [])]
    known = {"target": -1 - index, "role": role, "name": message.get("name", ""), "calls": calls}
    return known | _shown(message.get("content"), message, meta) | {"as_written": role == "tool"}


def _call_row(call: dict[str, Any]) -> dict[str, Any]:
    """A tool call: its name, and its arguments as coloured code."""
    arguments = call["arguments"]
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False, indent=2)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return {"name": call["name"], "html": render(f"{fence}json\n{text}\n{fence}")}


def passage_rows(meta: dict[str, Any], *, placed: bool = False) -> list[dict[str, Any]]:
    """The passages of an instance, in their order; ``placed`` ones say where each piece stands in
    :func:`feedback.content.passage_text`, so that a part can be pointed at."""
    return [_passage_row(passage if isinstance(passage, dict) else {}, placed) for passage in passages_of(meta)]


def _passage_row(passage: dict[str, Any], placed: bool) -> dict[str, Any]:
    text, sentences = text_of(passage.get("text")), passage_sentences(passage)
    lengths = [len(sentence) + 1 for sentence in sentences]
    starts = list(accumulate(lengths, initial=len(text) + 2 if text else 0))
    return {
        "title": str(passage.get("title") or ""),
        "sentences": list(zip(starts, sentences, strict=False)),
        "html": placed_or_raw(text) if placed else render(text),
        "placed": placed,
    }


def completion_rows(
    completions: Sequence[dict[str, Any]], order: Sequence[int], meta: dict[str, Any]
) -> list[dict[str, Any]]:
    """The completions in the order of the screen, lettered from the left; ``index`` is the stored one."""
    rows = []
    for letter, index in zip(LETTERS, order, strict=False):
        shown = _shown(completions[index]["content"], completions[index], meta)
        words = len(shown["raw"].split())
        length = ngettext("%(n)s word", "%(n)s words", words) % {"n": words}
        side = {"letter": letter, "side": letter.lower(), "index": index, "target": index}
        rows.append({**side, "words": words, "length": length, **shown})
    return rows


def _shown(content: Any, holder: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    raw = text_of(content)
    language = holder.get("lang") or meta.get("lang") or ""
    direction = holder.get("dir") or meta.get("dir")
    return {
        "html": render(raw),
        "raw": raw,
        "parts": media_of(content),
        "placed": False,
        "as_written": False,
        "snippet": raw[:120],  # stays as it is written where the texts are placed for spans
        "crlf": "\r\n" in raw,
        "long": len(raw) > LONG,
        "lang": language if isinstance(language, str) and _LANGUAGE.match(language) else "",
        "dir": direction if direction in ("ltr", "rtl") else "auto",
    }


def guideline_row(guideline: GuidelineVersion | None) -> dict[str, Any]:
    return {"html": render(guideline.text) if guideline else "", "number": guideline.number if guideline else None}


def done_context(task: Task, user: User) -> dict[str, Any]:
    """The page after the last instance: what this person did today, and what is left that does not suit them."""
    today = labelling.today(user, task)
    unnamed = queue.unnamed(task, user)
    return {
        "task": task,
        "done_today": today.count,
        "minutes_today": round(today.active_ms / 60_000) or None,
        "unnamed": unnamed,
        "needed": needed(unnamed.languages, unnamed.skills) if unnamed else "",
    }


def queue_row(row: labelling.QueueRow) -> dict[str, Any]:
    return {
        "name": row.task.name,
        "project_name": row.task.project.name,
        "done": row.done,
        "goal": row.done + row.left,
        "left": row.left,
        "more": row.more,
        "minutes": row.minutes,
        "unnamed": row.unnamed,
        "start_url": address("work", row.task.public_id),
    }
