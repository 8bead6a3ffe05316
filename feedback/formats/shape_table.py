"""The shapes that a dataset version can have. To add one: its schema and rows beside, a row here, and its maker in
``feedback/services/shaping.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from feedback.formats.rated_shapes import RANKED, RATINGS
from feedback.formats.shapes import PREFERENCE, PREFERENCE_CONVERSATIONAL, Shape, raw_shape
from feedback.formats.text_shapes import critiques_shape, spans_shape
from feedback.formats.trl_shapes import LANGUAGE_MODELLING, PREFERENCE_IMPLICIT, PROMPT_COMPLETION, UNPAIRED
from feedback.questions import Question, leading_question
from feedback.refinements import asks_refinement

ShapeName = Literal[
    "preference",
    "preference-conversational",
    "preference-implicit",
    "unpaired",
    "prompt-completion",
    "language-modelling",
    "ranked",
    "ratings",
    "spans",
    "critiques",
    "raw",
]
Questions = Sequence[Question]


@dataclass(frozen=True)
class ShapeKind:
    """``label`` for a form; ``fits(questions, refined)``: whether these questions produce such rows, ``refined`` when
    refinements count as chosen; ``of``: the shape for them; ``needs``: what a task must ask, for the refusal."""

    label: str
    fits: Callable[[Questions, bool], bool]
    of: Callable[[Questions], Shape]
    needs: str


def ordering_question(questions: Questions, name: str = "") -> Question | None:
    """The question whose answers order completions: the named one, else the leading preference, else ranking."""
    if name:
        return next((one for one in questions if one.name == name and one.kind in ("preference", "ranking")), None)
    return leading_question(questions, "preference") or leading_question(questions, "ranking")


def _orders(questions: Questions, refined: bool) -> bool:
    return refined or ordering_question(questions) is not None


def _asks(kind: str) -> Callable[[Questions, bool], bool]:
    return lambda questions, refined: any(question.kind == kind for question in questions)


def _always(shape: Shape) -> Callable[[Questions], Shape]:
    return lambda questions: shape


_ORDER = "a preference or a ranking, or refinements that count as chosen"

SHAPES: dict[str, ShapeKind] = {
    "preference": ShapeKind("Preference: prompt, chosen, rejected as text", _orders, _always(PREFERENCE), _ORDER),
    "preference-conversational": ShapeKind(
        "Preference as chat messages", _orders, _always(PREFERENCE_CONVERSATIONAL), _ORDER
    ),
    "preference-implicit": ShapeKind(
        "Preference with the prompt inside both chats", _orders, _always(PREFERENCE_IMPLICIT), _ORDER
    ),
    "unpaired": ShapeKind("Unpaired: completions labelled good or bad", _orders, _always(UNPAIRED), _ORDER),
    "prompt-completion": ShapeKind(
        "Prompt and completion: what was preferred or refined", _orders, _always(PROMPT_COMPLETION), _ORDER
    ),
    "language-modelling": ShapeKind(
        "Language modelling: the same as whole chats", _orders, _always(LANGUAGE_MODELLING), _ORDER
    ),
    "ranked": ShapeKind("Rankings: completions with their ranks", _asks("ranking"), _always(RANKED), "a ranking"),
    "ratings": ShapeKind("Ratings: values of each completion", _asks("rating"), _always(RATINGS), "a rating"),
    "spans": ShapeKind("Spans, named as in Fine-Grained RLHF", _asks("span"), spans_shape, "spans"),
    "critiques": ShapeKind("Critiques with refinements", _asks("critique"), critiques_shape, "a critique"),
    "raw": ShapeKind("Raw: one row per annotation, nothing aggregated", lambda questions, refined: True, raw_shape, ""),
}


def fitting_shapes(questions: Questions) -> list[str]:
    """The names of the shapes that these questions can produce, in the order of the table."""
    refined = asks_refinement(questions)
    return [name for name, kind in SHAPES.items() if kind.fits(questions, refined)]
