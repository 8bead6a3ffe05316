"""Jinja, for the parts of a page that are drawn anew for each instance: ``templates/**/*.jinja``.

Django's own templates take ten times the function calls for the same HTML. Pages, and frames that are kept
(:mod:`.frames`), stay Django's; ``{% jinja "annotate/_prompt.jinja" turns=turns %}`` puts such a part into a page.

A part is compiled once for each language: ``{% translate "Raw" %}`` and ``{{ "book" | icon }}`` are then plain text in
it. Values are escaped as in Django's templates; a name that was not given is an error instead of nothing.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from django.conf import settings
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.safestring import SafeString
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.ext import Extension
from jinja2.nodes import Output, TemplateData
from jinja2.parser import Parser
from markupsafe import Markup

from .addresses import place


class Translate(Extension):
    """``{% translate "words" %}``, as in Django's templates: the catalogue's words, which are HTML."""

    tags = {"translate"}

    def parse(self, parser: Parser) -> Output:
        line = next(parser.stream).lineno
        words = parser.stream.expect("string").value
        return Output([TemplateData(translation.gettext(words))], lineno=line)


def draw(part: str, values: dict[str, Any]) -> SafeString:
    """The HTML of a template in the language that is active."""
    language = translation.get_language() or settings.LANGUAGE_CODE
    return SafeString(_environment(language).get_template(part).render(values))


@cache
def _environment(language: str) -> Environment:
    """The templates of one language, which is active whenever one of them is compiled."""
    made = Environment(
        loader=FileSystemLoader(settings.BASE_DIR / "templates"),
        extensions=[Translate],
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=settings.DEBUG,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["icon"] = icon
    made.globals |= {"place": place, "languages": languages(), "language": language}
    return made


@cache
def icon(name: str, size: int | None = None) -> Markup:
    return Markup(render_to_string("components/_icon.html", {"name": name, "size": size}))  # noqa: S704 - a template's


def languages() -> list[tuple[str, str]]:
    """The languages of the annotators' pages, each with its own name for itself."""
    return [(code, translation.get_language_info(code)["name_local"]) for code, _ in settings.LANGUAGES]
