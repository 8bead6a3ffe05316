"""What is kept is drawn anew for other values and for another language."""

from __future__ import annotations

from django.template import Context, Template
from django.utils import translation

SOURCE = "{% load kept i18n %}{% kept letter %}{{ letter }}{{ other }}{% translate 'Skip' %}{% endkept %}"


def draw(**values: str) -> str:
    return Template(SOURCE).render(Context(values))


def test_a_block_is_drawn_once_for_the_values_it_names() -> None:
    with translation.override("en"):
        assert draw(letter="A", other="1") == "A1Skip"
        assert draw(letter="A", other="2") == "A1Skip"
        assert draw(letter="B", other="2") == "B2Skip"


def test_a_block_is_drawn_again_in_another_language_and_stays_escaped() -> None:
    with translation.override("de"):
        german = draw(letter="A", other="1")
    with translation.override("en"):
        assert german != draw(letter="A", other="1")
        assert draw(letter="<b>", other="") == draw(letter="<b>", other="") == "&lt;b&gt;Skip"
