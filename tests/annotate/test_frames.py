"""A frame is drawn once for what it reads and in each language, and its holes are filled anew, escaped."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.template.backends.django import DjangoTemplates
from django.utils import translation
from django.utils.safestring import SafeString

from annotate import frames

SOURCE = (
    '{% load i18n %}{{ letter }}<i title="{{ holes.title }}">{{ holes.text }}</i>{{ csrf_token }}{% translate "Skip" %}'
)


@pytest.fixture
def fill(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``fill(letter, **holes)`` of a template of our own; ``fill.drawn`` counts how often Django drew it."""
    (tmp_path / "page.html").write_text(SOURCE)
    backend = DjangoTemplates({"NAME": "own", "DIRS": [str(tmp_path)], "APP_DIRS": False, "OPTIONS": {}})
    drawn: list[Any] = []

    def render(template: str, context: dict[str, Any]) -> str:
        drawn.append(context)
        return str(backend.get_template(template).render(context))

    monkeypatch.setattr(frames, "render_to_string", render)
    monkeypatch.setattr(frames, "_FRAMES", frames._Frames())

    def filled(letter: str, **holes: object) -> str:
        return frames.fill("page.html", {"letter": letter}, {"title": "", "text": "", "csrf_token": "t", **holes})

    filled.drawn = drawn  # type: ignore[attr-defined]
    return filled


def test_it_is_drawn_once_for_what_it_reads(fill: Any) -> None:
    with translation.override("en"):
        assert fill("A", title="one", text="1") == 'A<i title="one">1</i>tSkip'
        assert fill("A", title="two", text="2", csrf_token="other") == 'A<i title="two">2</i>otherSkip'
        assert fill("B", text="3") == 'B<i title="">3</i>tSkip'
    assert len(fill.drawn) == 2


def test_it_is_drawn_again_in_another_language(fill: Any) -> None:
    with translation.override("de"):
        german = fill("A")
    with translation.override("en"):
        assert german != fill("A")


def test_what_is_filled_in_is_escaped_and_never_looked_through_for_holes(fill: Any) -> None:
    with translation.override("en"):
        mark = str(frames.HOLES["title"])
        page = fill("<b>", title='"><script>', text=mark)
        assert page == f'&lt;b&gt;<i title="&quot;&gt;&lt;script&gt;">{mark}</i>tSkip'
        assert fill("A", text=SafeString("<b>2</b>")) == 'A<i title=""><b>2</b></i>tSkip'


def test_a_hole_without_a_value_is_an_error(fill: Any) -> None:
    with pytest.raises(KeyError, match="text"):
        frames.fill("page.html", {"letter": "A"}, {"title": "", "csrf_token": ""})


def test_the_oldest_frames_go(fill: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MOST", 2)
    for letter in "ABCA":
        fill(letter)
    assert [context["letter"] for context in fill.drawn] == ["A", "B", "C", "A"]


def test_marks_cannot_be_guessed() -> None:
    assert re.fullmatch(r"hole-[0-9a-f]{32}-bar;", frames.HOLES["bar"])
