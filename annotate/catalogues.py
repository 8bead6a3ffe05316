"""The catalogues of the annotator's pages: what there is to translate, and what of it is translated.

Needs Babel, which only developers have: the compiled catalogues are kept beside their sources.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from babel.messages import Catalog
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.conf import settings
from django.utils import translation
from django.utils.translation.template import templatize

from feedback.exceptions import FeedbackError
from feedback.questions import BOTH_BAD, CANNOT_JUDGE, preference_values
from feedback.services import queue

from .views.summaries import words_of

BASE: Path = settings.BASE_DIR
LANGUAGES = [code for code, _ in settings.LANGUAGES if code != settings.LANGUAGE_CODE]
# what a person meets who only annotates; the control room stays English (annotate.middleware.own_language)
TEMPLATES = (
    *(
        "*.html",
        "annotate/**/*.html",
        "annotate/*.jinja",
        "account/*.html",
        "mfa/**/*.html",
        "allauth/**/*.html",
        "errors/*.html",
    ),
    *(
        "instances/thread.html",
        "instances/_comments.html",
        "people/invitation.html",
        "tokens/login_link.html",
        "projects/projects.html",
        "components/*.html",
        "components/*.jinja",
    ),
)
OF_THE_CONTROL_ROOM = {"_bars.html", "_budget.html", "_chart.html", "_job.html", "_rail.html", "_task_picker.html"}
PYTHON = (
    *(f"feedback/{name}.py" for name in ("answers", "span_answers", "wording", "questions", "services/commenting")),
    *("feedback/services/labelling.py", "feedback/services/queue/*.py"),
    *("annotate/keys.py", "annotate/languages.py", "annotate/forms/abilities.py", "annotate/speaking.py"),
    *(f"annotate/views/{name}.py" for name in ("label", "own", "reading", "summaries", "spans", "account")),
)
SCRIPTS = ("annotate/static/js/**/*.js",)
MARKERS: dict[str, dict[str, Any]] = {
    "django": {
        "_": None,
        "gettext": None,
        "gettext_lazy": None,
        "gettext_noop": None,
        "ngettext": (1, 2),
        "pgettext": ((1, "c"), 2),
        **dict.fromkeys(("Sentence", "WrongState", "Forbidden", "LeaseLost")),  # translated where they are shown
    },
    "djangojs": {"t": None, "tn": (1, 2)},
}
DOMAINS = tuple(MARKERS)

Found = tuple[str, "str | tuple[str, ...]", "str | None"]


def catalogue_path(language: str, domain: str) -> Path:
    return BASE / "locale" / language / "LC_MESSAGES" / f"{domain}.po"


def template_of(domain: str) -> Catalog:
    """Everything of one domain that there is to translate, without translations."""
    catalogue = Catalog(domain=domain, fuzzy=False)
    with translation.override("en"):
        found = sorted(_scripts() if domain == "djangojs" else _pages(), key=str)
    for place, words, context in found:
        braces = ["python-brace-format"] if domain == "djangojs" and "{" in str(words) else []
        catalogue.add(words, locations=[(place, 0)], context=context, flags=braces)
    return catalogue


def _pages() -> Iterator[Found]:
    for pattern in TEMPLATES:
        for path in (BASE / "templates").glob(pattern):
            if path.name in OF_THE_CONTROL_ROOM:
                continue
            # Django's own reading of a template leaves calls and noise, which the lenient JavaScript lexer takes
            source = templatize(path.read_text(encoding="utf-8"), origin=str(path))
            yield from _words("javascript", source, path, "django")
    for pattern in PYTHON:
        for path in BASE.glob(pattern):
            yield from _words("python", path.read_text(encoding="utf-8"), path, "django")
    for error in _below(FeedbackError):
        yield "feedback/exceptions.py", (error.__doc__ or "").strip(), None
    for words in (*queue.SKIP_REASONS.values(), *queue.FLAG_REASONS.values()):
        yield "feedback/services/queue/returning.py", words, None
    for value in (*preference_values(9), BOTH_BAD, CANNOT_JUDGE):
        yield "annotate/views/summaries.py", words_of(value), None


def _scripts() -> Iterator[Found]:
    for pattern in SCRIPTS:
        for path in BASE.glob(pattern):
            yield from _words("javascript", path.read_text(encoding="utf-8"), path, "djangojs")


def _words(method: str, source: str, path: Path, domain: str) -> Iterator[Found]:
    for _line, words, _comments, context in extract(method, io.BytesIO(source.encode()), keywords=MARKERS[domain]):
        yield str(path.relative_to(BASE)), words, context


def _below(error: type[FeedbackError]) -> Iterator[type[FeedbackError]]:
    yield error
    for child in error.__subclasses__():
        if child.__module__ == error.__module__:
            yield from _below(child)


def read(language: str, domain: str) -> Catalog:
    path = catalogue_path(language, domain)
    if not path.exists():
        return Catalog(locale=language, domain=domain, fuzzy=False)
    with path.open("rb") as file:
        return read_po(file, locale=language, domain=domain)


def update(language: str, domain: str) -> Catalog:
    """Bring a catalogue up to date with the sources: new words come untranslated, gone ones go. Writes .po and .mo."""
    catalogue = read(language, domain)
    catalogue.update(template_of(domain), no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    catalogue.fuzzy = False
    path = catalogue_path(language, domain)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(source_of(catalogue))
    path.with_suffix(".mo").write_bytes(compiled(catalogue))
    return catalogue


def source_of(catalogue: Catalog) -> bytes:
    """A .po file without dates, authors and line numbers, so that it changes only when words do."""
    file = io.BytesIO()
    write_po(file, catalogue, omit_header=False, sort_output=True, include_lineno=False, width=120)
    dated = ("POT-Creation-Date", "PO-Revision-Date", "Last-Translator", "Language-Team", "Project-Id-Version")
    dropped = (*dated, "Report-Msgid-Bugs-To", "Generated-By")
    lines = file.getvalue().decode().splitlines(keepends=True)
    start = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return "".join(line for line in lines[start:] if not line.startswith(tuple(f'"{d}' for d in dropped))).encode()


def compiled(catalogue: Catalog) -> bytes:
    """The .mo file of a catalogue; equal catalogues give equal bytes."""
    catalogue.creation_date = catalogue.revision_date = datetime(2000, 1, 1, tzinfo=UTC)
    file = io.BytesIO()
    write_mo(file, catalogue)
    return file.getvalue()


def untranslated(catalogue: Catalog) -> list[str]:
    """The words that lack a translation, or one of its plural forms."""
    missing = []
    for message in catalogue:
        strings = message.string if isinstance(message.string, (list, tuple)) else [message.string]
        wanted = catalogue.num_plurals if message.pluralizable else 1
        if message.id and (len(strings) < wanted or not all(strings)):
            missing.append(message.id if isinstance(message.id, str) else message.id[0])
    return missing
