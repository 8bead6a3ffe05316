"""The page of the reading room, from what :mod:`.reading` says of one assignment: its frame, and what differs."""

from __future__ import annotations

from typing import Any

from django.contrib.messages import get_messages
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.html import json_script
from django.utils.safestring import SafeString

from .. import frames, keys
from ..access import user_of
from ..csrf import token_of
from ..jinja import draw

TEMPLATE = "annotate/work.html"
_FLAGS = ("editing", "deciding", "preview", "answered")


def room(request: HttpRequest, shown: dict[str, Any]) -> HttpResponse:
    """``shown``: as of :func:`.reading.work_context`; ``editing``, ``deciding`` (with ``back_url``) or ``preview``
    where nothing new is labelled."""
    own = keys.keys_of(user_of(request))
    flags = {name: bool(shown.get(name)) for name in _FLAGS}
    fixed = {
        "task_name": shown["task"].name,
        "keys": own,
        "letters": shown["letters"],
        "questions": [
            row if row["same"] else row | {"hole": frames.HOLES[_hole(number)]}
            for number, row in enumerate(shown["questions"], 1)
        ],
        "guideline": shown["guideline"],
        "reasons_skip": shown["reasons_skip"],
        "reasons_flag": shown["reasons_flag"],
        **flags,
    }
    around = {
        "task": shown["task"],
        "progress": shown.get("progress"),
        "keys": own,
        "back_url": shown.get("back_url", ""),
        "csrf_token": token_of(request),
        "path": request.get_full_path(),
        **flags,
    }
    holes = {
        "csrf_token": around["csrf_token"],
        "back_url": around["back_url"],
        "bar": draw("annotate/_bar.jinja", around),
        "prompt": draw("annotate/_prompt.jinja", {"turns": shown["turns"], "passages": shown["passages"]}),
        "completions": draw("annotate/_completions.jinja", {"completions": shown["completions"]}),
        "set_aside": _set_aside(shown.get("set_aside")),
        "page": json_script(shown["page"], "work-data"),
        "toasts": _toasts(request),
        **_questions(shown, own),
    }
    return HttpResponse(frames.fill(TEMPLATE, fixed, holes))


def _questions(shown: dict[str, Any], own: dict[str, str]) -> dict[str, str]:
    """The forms that follow the completions, by their holes."""
    holes, refining = {}, []
    for number, question in enumerate(shown["questions"], 1):
        context = shown | {"question": question, "number": number, "many": len(shown["questions"]), "keys": own}
        if question.get("ask_refinement"):
            refining.append(render_to_string("annotate/questions/_refining.html", context))
        if not question["same"]:
            holes[_hole(number)] = render_to_string(question["template"], context)
    return {**holes, "refining": SafeString("".join(refining))}


def _hole(number: int) -> str:
    return f"question_{number}"


def _set_aside(rows: list[tuple[str, str]] | None) -> str:
    return render_to_string("annotate/_set_aside.html", {"set_aside": rows}) if rows else ""


def _toasts(request: HttpRequest) -> str:
    waiting = get_messages(request)
    if waiting:
        return render_to_string("components/_messages.html", {"messages": waiting})
    return SafeString(frames.fill("components/_messages.html", {}, {}))
