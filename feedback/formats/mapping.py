"""Which column is what: the mapping a person confirms before an import, and a first guess at it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from feedback.formats.dialogue import is_dialogue
from feedback.formats.records import MAX_COMPLETIONS, ReadOptions, RowError
from feedback.formats.tables import Row, read_table
from feedback.questions import preference_values

Side = Literal["a", "tie", "b", "both-bad", "skip"]

# words a recorded vote is understood by; numbers are not, since 0 and 1 mean different things in different sets
SIDE_WORDS: dict[str, Side] = {
    **dict.fromkeys(("a", "model_a", "completion_a", "response_a", "first", "left"), "a"),
    **dict.fromkeys(("b", "model_b", "completion_b", "response_b", "second", "right"), "b"),
    **dict.fromkeys(("tie", "same", "equal", "draw"), "tie"),
    **dict.fromkeys(("both-bad", "both bad", "bothbad", "tie (bothbad)", "neither"), "both-bad"),
    **dict.fromkeys(("", "none", "null", "skip"), "skip"),
}
_PROMPTS = ("prompt", "instruction", "question", "query", "input", "context", "messages")
_LISTS = ("completions", "responses", "answers", "outputs", "candidates", "generations")
_PAIRS = (
    ("completion_a", "completion_b"),
    ("response_a", "response_b"),
    ("answer_a", "answer_b"),
    ("output_a", "output_b"),
    ("completion_1", "completion_2"),
    ("response_1", "response_2"),
    ("answer_1", "answer_2"),
    ("output_1", "output_2"),
    ("response1", "response2"),
    ("response_0", "response_1"),
    ("completion_0", "completion_1"),
)
_IDS = ("external_id", "id", "instance_id", "example_id", "sample_id", "question_id", "uid", "uuid", "prompt_id")
_PREFERENCES = ("preference", "winner", "label", "choice", "preferred", "vote", "overall")
_MODELS = (("model_a", "model_b"), ("model_1", "model_2"), ("chosen_model", "rejected_model"), ("models",))
_ANNOTATORS = ("annotator", "annotator_id", "judge", "rater", "worker", "worker_id", "user")
_SYSTEMS = ("system", "system_prompt")
PASSAGES = "passages"  # shown beside the prompt, however long they are


class ColumnMapping(BaseModel):
    """Names of columns. Either ``completions`` (one list column, or 1–12 text columns) or ``chosen`` and ``rejected``.

    ``prompt`` may be missing only with ``chosen``/``rejected`` that hold whole dialogues. ``models`` names one column
    per completion, or one list column. ``preference`` is a recorded vote on two completions, ``values`` says what its
    cells mean (``{"left": "a"}``); without it the usual words are understood.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str | None = None
    system: str | None = None
    completions: tuple[str, ...] = Field(default=(), max_length=MAX_COMPLETIONS)
    chosen: str | None = None
    rejected: str | None = None
    external_id: str | None = None
    models: tuple[str, ...] = Field(default=(), max_length=MAX_COMPLETIONS)
    meta: tuple[str, ...] = Field(default=(), max_length=100)
    preference: str | None = None
    values: dict[str, Side] = Field(default={}, max_length=50)
    annotator: str | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> ColumnMapping:
        if (self.chosen is None) != (self.rejected is None):
            raise ValueError("chosen and rejected go together")
        if bool(self.completions) == (self.chosen is not None):
            raise ValueError("map either completions or chosen and rejected")
        if self.completions and self.prompt is None:
            raise ValueError("map the prompt")
        if self.chosen is not None and self.preference is not None:
            raise ValueError("chosen and rejected already are the preference")
        return self

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """The columns that every row must have."""
        single = (self.prompt, self.chosen, self.rejected, self.external_id, self.preference)
        return tuple(name for name in (*single, *self.completions, *self.models) if name is not None)

    def columns(self) -> list[str]:
        """Every column that the mapping reads."""
        return [*self.needed, *self.meta, *(name for name in (self.system, self.annotator) if name is not None)]


def suggest_mapping(columns: Sequence[str], first_rows: Sequence[Row]) -> ColumnMapping | None:
    """Guess a mapping from column names and a few rows; ``None`` when no prompt or no completions are recognised.

    Names are compared without case. Unused columns whose cells are short become ``meta``.
    """
    by_name = {column.lower(): column for column in columns}
    guess: dict[str, Any] = {
        "prompt": _first(by_name, _PROMPTS),
        "system": _first(by_name, _SYSTEMS),
        "external_id": _first(by_name, _IDS),
        "annotator": _first(by_name, _ANNOTATORS),
        "models": _first_group(by_name, _MODELS),
        **_guess_completions(by_name, first_rows),
    }
    pairs = guess.get("chosen") is not None
    if not guess.get("completions") and not pairs:
        return None
    if guess["prompt"] is None and not _holds_dialogues(guess.get("chosen"), first_rows):
        return None
    if len(guess.get("completions") or ()) == 2:
        guess["preference"] = _guess_preference(by_name, first_rows)
    if guess["annotator"] and not pairs and not guess.get("preference"):
        guess["annotator"] = None
    mapping = ColumnMapping(**guess)
    return mapping.model_copy(update={"meta": _short_columns(columns, first_rows, mapping.columns())})


def _first(by_name: dict[str, str], names: Sequence[str]) -> str | None:
    return next((by_name[name] for name in names if name in by_name), None)


def _first_group(by_name: dict[str, str], groups: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    found = next((group for group in groups if all(name in by_name for name in group)), ())
    return tuple(by_name[name] for name in found)


def _guess_completions(by_name: dict[str, str], first_rows: Sequence[Row]) -> dict[str, Any]:
    if "chosen" in by_name and "rejected" in by_name:
        return {"chosen": by_name["chosen"], "rejected": by_name["rejected"]}
    column = _first(by_name, _LISTS)
    if column is not None and any(isinstance(row.get(column), list) for row in first_rows):
        return {"completions": (column,)}
    pair = _first_group(by_name, _PAIRS)
    if pair:
        return {"completions": pair}
    single = _first(by_name, ("completion", "response", "answer", "output"))
    return {"completions": (single,)} if single else {}


def _guess_preference(by_name: dict[str, str], first_rows: Sequence[Row]) -> str | None:
    """The vote column, when all its first cells are words or preference values that need no explanation."""
    column = _first(by_name, _PREFERENCES)
    if column is None:
        return None
    cells = {"" if row.get(column) is None else str(row[column]).strip().lower() for row in first_rows if column in row}
    known = {value for steps in (3, 5, 7, 9) for value in preference_values(steps)}
    return column if cells <= known | SIDE_WORDS.keys() and cells != {""} else None


def _holds_dialogues(column: str | None, first_rows: Sequence[Row]) -> bool:
    cells = [row.get(column) for row in first_rows] if column else []
    return bool(cells) and all(is_dialogue(cell) or isinstance(cell, list) for cell in cells)


def _short_columns(columns: Sequence[str], first_rows: Sequence[Row], used: Sequence[str]) -> tuple[str, ...]:
    def is_short(column: str) -> bool:
        return column.lower() == PASSAGES or all(len(str(row.get(column))) <= 300 for row in first_rows)

    return tuple(column for column in columns if column not in used and is_short(column))[:100]


def preview(path: Path, n: int = 20, options: ReadOptions | None = None) -> tuple[list[str], list[Row], list[RowError]]:
    """The columns (in order of first appearance), the first ``n`` readable rows, and the errors met on the way."""
    columns: dict[str, None] = {}
    rows: list[Row] = []
    errors: list[RowError] = []
    for entry in islice(read_table(path, options), 5 * n):
        if isinstance(entry, RowError):
            errors.append(entry)
            continue
        columns.update(dict.fromkeys(entry[1]))
        rows.append(entry[1])
        if len(rows) == n:
            break
    return list(columns), rows, errors
