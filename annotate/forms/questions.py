"""A form for one question of any kind, made from the question's own model, so that a new setting needs no new form.

A cell is one value; cells have the path of their value as name (``scales.0.low``), which is what errors are called by.
What is entered becomes the question's JSON, right or not: a draft keeps it, and the model says what is wrong.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from feedback.questions import Question

from .question_words import KIND_WORDS, OPTION_WORDS, WORDS

MODELS: dict[str, type[BaseModel]] = {
    get_args(model.model_fields["kind"].annotation)[0]: model for model in get_args(get_args(Question)[0])
}
Widget = Literal["flag", "number", "option", "lines", "text", "paragraph"]
_PARAGRAPHS = {"description"}
_SPACED = {"labels"}  # lists in which an empty line has a place
_MAX_ROWS = 60
LARGEST = 10**15


@dataclass
class Cell:
    """One control: ``value`` is text, for a flag whether it is on, for an option one of ``options``."""

    name: str
    label: str
    help: str
    widget: Widget
    value: Any
    options: list[tuple[str, str]] = field(default_factory=list)
    error: str = ""

    @property
    def id(self) -> str:
        return "cell-" + self.name.replace(".", "-")


@dataclass
class Table:
    """Values of several columns; the last row is empty, to be filled for one more. Emptied rows go."""

    name: str
    label: str
    help: str
    columns: list[str]
    rows: list[list[Cell]]
    error: str = ""


@dataclass
class QuestionForm:
    """Cells and tables in the order of the model, the title first; ``flags`` together at the end."""

    kind: str
    kind_words: str
    parts: list[Cell | Table]
    flags: list[Cell]
    error: str = ""

    def cells(self) -> Iterator[Cell]:
        for part in (*self.parts, *self.flags):
            yield from (cell for row in part.rows for cell in row) if isinstance(part, Table) else (part,)

    def show(self, errors: Mapping[str, str]) -> None:
        """Put each error at the cell or table that its path leads to, else at the top."""
        cells = {cell.name: cell for cell in self.cells()}
        tables = {part.name: part for part in self.parts if isinstance(part, Table)}
        for path, words in errors.items():
            parts = path.split(".")
            paths = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
            places = [found for path in paths for found in (cells.get(path) or tables.get(path),) if found]
            place = places[0] if places else self
            place.error = f"{place.error} {words}".strip()


def form_of(question: Mapping[str, Any]) -> QuestionForm:
    """The form of a question as it stands in a draft. Raises KeyError for an unknown kind."""
    kind = question["kind"]
    parts: list[Cell | Table] = []
    fields = {name: info for name, info in MODELS[kind].model_fields.items() if name != "kind"}
    for name in sorted(fields, key=lambda name: (name == "when", name != "title")):  # what people read first
        parts += _parts(name, fields[name], question.get(name, _default(fields[name])))
    flags = [part for part in parts if isinstance(part, Cell) and part.widget == "flag"]
    return QuestionForm(kind, KIND_WORDS.get(kind, kind), [part for part in parts if part not in flags], flags)


def question_from(kind: str, posted: Mapping[str, str]) -> dict[str, Any]:
    """The question that was entered. Values keep the type that the model wants where they can."""
    question: dict[str, Any] = {"kind": kind}
    for name, info in MODELS[kind].model_fields.items():
        if name != "kind":
            question[name] = _entered(name, info.annotation, posted)
    return {name: value for name, value in question.items() if value is not _NOTHING}


_NOTHING: Any = object()


def _default(info: FieldInfo) -> Any:
    return None if info.is_required() else info.get_default(call_default_factory=True)


def _bare(annotation: Any) -> Any:
    """Without ``Annotated`` and ``| None``."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return _bare(next(one for one in get_args(annotation) if one is not type(None)))
    return annotation


def _model(annotation: Any) -> type[BaseModel] | None:
    bare = _bare(annotation)
    return bare if isinstance(bare, type) and issubclass(bare, BaseModel) else None


def _columns(annotation: Any) -> dict[str, Any] | None:
    """The columns of a value that is a table: a list of models, or a mapping from names to numbers."""
    bare = _bare(annotation)
    if get_origin(bare) is dict:
        return {"name": str, "value": float}
    model = _model(get_args(bare)[0]) if get_origin(bare) is list else None
    return {name: info.annotation for name, info in model.model_fields.items()} if model else None


def _parts(name: str, info: FieldInfo, value: Any) -> list[Cell | Table]:
    if columns := _columns(info.annotation):
        return [_table(name, columns, value)]
    if model := _model(info.annotation):
        held = value if isinstance(value, Mapping) else {}
        return [_cell(f"{name}.{one}", f.annotation, held.get(one)) for one, f in model.model_fields.items()]
    return [_cell(name, info.annotation, value)]


def _table(name: str, columns: dict[str, Any], value: Any) -> Table:
    held = value if isinstance(value, list) else []
    if isinstance(value, Mapping):
        held = [{"name": key, "value": number} for key, number in value.items()]
    label, words = _words(name)
    rows = [
        [_cell(f"{name}.{number}.{one}", annotation, row.get(one)) for one, annotation in columns.items()]
        for number, row in enumerate([*(row for row in held if isinstance(row, Mapping)), {}])
    ]
    return Table(name, label, words, [_words(f"{name}.{one}")[0] for one in columns], rows)


def _cell(name: str, annotation: Any, value: Any) -> Cell:
    widget = _widget(name, annotation)
    label, words = _words(".".join(part for part in name.split(".") if not part.isdigit()))
    options = [(str(one), OPTION_WORDS.get(str(one), str(one).capitalize())) for one in _options(annotation)]
    return Cell(name, label, words, widget, _shown(widget, value), options)


def _widget(name: str, annotation: Any) -> Widget:
    bare = _bare(annotation)
    if bare is bool:
        return "flag"
    if bare in (int, float):
        return "number"
    if get_origin(bare) is Literal:
        return "option"
    if get_origin(bare) is list:
        return "lines"
    return "paragraph" if name in _PARAGRAPHS else "text"


def _options(annotation: Any) -> tuple[Any, ...]:
    bare = _bare(annotation)
    return get_args(bare) if get_origin(bare) is Literal else ()


def _shown(widget: Widget, value: Any) -> Any:
    if widget == "flag":
        return value is True
    if widget == "lines":
        return "\n".join(str(one) for one in value) if isinstance(value, (list, tuple)) else ""
    if widget == "number" and isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def _words(name: str) -> tuple[str, str]:
    return WORDS.get(name) or WORDS.get(name.rpartition(".")[2]) or (name.replace("_", " ").capitalize(), "")


def _entered(name: str, annotation: Any, posted: Mapping[str, str]) -> Any:
    if columns := _columns(annotation):
        rows = _rows(name, columns, posted)
        if get_origin(_bare(annotation)) is dict:
            return {str(row.get("name", "")): row.get("value", 0.0) for row in rows}
        return rows
    if model := _model(annotation):
        held = {one: _entered(f"{name}.{one}", info.annotation, posted) for one, info in model.model_fields.items()}
        return held if any(held.values()) else None
    return _value(name, annotation, posted.get(name, ""))


def _rows(name: str, columns: dict[str, Any], posted: Mapping[str, str]) -> list[dict[str, Any]]:
    rows = []
    for number in range(_MAX_ROWS):
        cells = {one: posted.get(f"{name}.{number}.{one}", "") for one in columns}
        if any(text.strip() for text in cells.values()) and posted.get("_drop") != f"{name}.{number}":
            values = {one: _value(one, columns[one], text) for one, text in cells.items() if text.strip()}
            rows.append(values)
    return rows


def _value(name: str, annotation: Any, text: str) -> Any:
    widget = _widget(name, annotation)
    if widget == "flag":
        return bool(text)
    if widget == "lines":
        return _lines(text, spaced=name.rpartition(".")[2] in _SPACED)
    if widget == "number":
        return _number(text)
    if widget == "option":
        return next((one for one in _options(annotation) if str(one) == text), text)
    return text.replace("\r\n", "\n").strip()


def _lines(text: str, *, spaced: bool) -> list[str]:
    lines = [line.strip() for line in text.strip().splitlines()]
    return lines if spaced else [line for line in lines if line]


def _number(text: str) -> int | float | str:
    """The number, or the text as it is for the model to refuse."""
    for kind in (int, float):
        try:
            number = kind(text.strip())
        except ValueError:
            continue
        return number if abs(number) <= LARGEST else text.strip()  # nor what JSON has no word for: NaN, infinity
    return text.strip()
