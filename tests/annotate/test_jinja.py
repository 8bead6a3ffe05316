"""Parts drawn by Jinja escape what they show, speak the active language, and miss no value silently."""

from __future__ import annotations

from typing import Any

import pytest
from django.template import Context, Template
from django.utils import translation
from django.utils.safestring import SafeString
from jinja2 import UndefinedError

from annotate.jinja import draw
from annotate.views.reading import completion_rows

SOURCE = '{% load jinja %}{% jinja "annotate/_completions.jinja" completions=completions %}'
HOSTILE = "<img src=x onerror=alert(1)>\"'&"


def completions(**changed: Any) -> list[dict[str, Any]]:
    row = completion_rows([{"content": "**one** word"}], [0], {})[0]
    return [{**row, "media": [], **changed}]


def drawn(rows: list[dict[str, Any]], language: str = "en") -> str:
    with translation.override(language):
        return Template(SOURCE).render(Context({"completions": rows}))


@pytest.mark.parametrize("name", ["letter", "side", "index", "length", "lang", "dir", "raw", "html"])
def test_a_value_is_text_whatever_it_says(name: str) -> None:
    html = drawn(completions(**{name: HOSTILE}))
    assert "<img" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;&#34;&#39;&amp;" in html


def test_only_html_made_here_is_html() -> None:
    assert "<strong>one</strong>" in drawn(completions())
    assert "<b>" in drawn(completions(html=SafeString("<b>")))


def test_each_language_has_its_own_words_even_in_turn() -> None:
    shown = {language: drawn(completions(), language) for language in ("en", "de", "ar", "de", "en")}
    assert len(set(shown.values())) == 3
    for language, html in shown.items():
        with translation.override(language):
            assert f'aria-label="{translation.gettext("Completion shown")}"' in html


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="completions"):
        draw("annotate/_completions.jinja", {})
    row = completions()
    del row[0]["html"]
    with pytest.raises(UndefinedError, match="html"):
        drawn(row)
