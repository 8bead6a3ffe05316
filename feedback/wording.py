"""Sentences for people, said here in English and said again elsewhere in another language."""

from __future__ import annotations

from collections.abc import Iterable


class Sentence(str):
    """A sentence that remembers its pattern and what was put in it, so that whoever shows it can translate it.

    ``Sentence("all %(n)s completions must be ranked", n=3)``. It is the English text wherever a text is wanted.
    """

    pattern: str
    values: dict[str, object]

    def __new__(cls, pattern: str, **values: object) -> Sentence:
        made = super().__new__(cls, pattern % values if values else pattern)
        made.pattern, made.values = pattern, values
        return made


def not_one_of(value: str, allowed: Iterable[str]) -> Sentence:
    return Sentence("%(value)s is not one of %(allowed)s", value=repr(value), allowed=", ".join(allowed))
