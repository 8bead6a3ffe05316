"""Rows of any table to instances, by a column mapping."""

from __future__ import annotations

import datetime
import decimal
import json
import math
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, cast

from feedback.formats.dialogue import is_dialogue, parse_dialogue, split_pair
from feedback.formats.mapping import SIDE_WORDS, ColumnMapping, Side, preview, suggest_mapping
from feedback.formats.records import (
    MAX_COMPLETIONS,
    BadRow,
    Content,
    ImportedInstance,
    Message,
    ReadOptions,
    RecordedAnnotation,
    RowError,
    checked_content,
    checked_id,
    checked_messages,
    checked_meta,
    checked_text,
    decisive,
    preference_answer,
    without_repeats,
)
from feedback.formats.tables import Row, read_table
from feedback.questions import BOTH_BAD, preference_values


def read_generic(
    path: Path, mapping: ColumnMapping | None = None, options: ReadOptions | None = None
) -> Iterator[ImportedInstance | RowError]:
    """Stream instances from a table (see ``read_table``); without ``mapping`` it is guessed from the first rows.

    Ids that repeat become row errors; without an id column the id is ``<file name>:<line>``.
    """
    options = options or ReadOptions()
    if mapping is None:
        columns, rows, errors = preview(path, 20, options)
        mapping = suggest_mapping(columns, rows) if rows else None
        if mapping is None:
            yield from errors
            found = ", ".join(columns[:20]) or "none"
            yield RowError(
                0, "file", f"no prompt and completions recognised in the columns: {found}", "Map the columns."
            )
            return
    yield from without_repeats(_instances(path, mapping, options))


def _instances(path: Path, mapping: ColumnMapping, options: ReadOptions) -> Iterator[ImportedInstance | RowError]:
    name = options.name or path.name.split(".")[0][:150]
    for entry in read_table(path, options):
        if isinstance(entry, RowError):
            yield entry
            continue
        line, row = entry
        try:
            yield instance_of(row, mapping, options, line=line, name=name)
        except BadRow as error:
            yield error.at(line)


def instance_of(row: Row, mapping: ColumnMapping, options: ReadOptions, *, line: int, name: str) -> ImportedInstance:
    """One row as an instance; ``name`` prefixes the id of a row without one. Raises BadRow."""
    for column in mapping.needed:
        if column not in row:
            raise BadRow(column, "the row has no such column", f"The row has: {', '.join(list(row)[:20])}.")
    external_id = checked_id(row[mapping.external_id], mapping.external_id) if mapping.external_id else f"{name}:{line}"
    if mapping.chosen is not None:
        side: Side | str
        prompt, completions, side = _pair(row, mapping, options)
    else:
        prompt, completions = _prompt(row, mapping, options), _completions(row, mapping, options)
        side = _recorded_side(row, mapping, options)
    annotations = _annotations(row, mapping, options, side, len(completions))
    meta = checked_meta({column: json_value(row.get(column), column) for column in mapping.meta})
    return ImportedInstance(external_id, prompt, completions, meta, name, annotations, line)


def _prompt(row: Row, mapping: ColumnMapping, options: ReadOptions) -> list[Message]:
    assert mapping.prompt is not None
    raw = row[mapping.prompt]
    messages = _chat(raw, mapping.prompt, options)
    if messages[-1]["role"] == "assistant":
        raise BadRow(mapping.prompt, "ends with an assistant message", "The prompt ends where the completion begins.")
    system = row.get(mapping.system) if mapping.system else None
    if system:
        messages = [{"role": "system", "content": checked_text(system, mapping.system or "", options)}, *messages]
    return messages


def _chat(raw: object, path: str, options: ReadOptions) -> list[Message]:
    if isinstance(raw, list):
        return checked_messages(raw, path, options)
    if is_dialogue(raw):
        messages = parse_dialogue(checked_text(raw, path, options), path)
        return messages[:-1] if messages[-1] == {"role": "assistant", "content": ""} else messages
    return [{"role": "user", "content": checked_text(raw, path, options)}]


def _completions(row: Row, mapping: ColumnMapping, options: ReadOptions) -> list[dict[str, Any]]:
    raws, paths = [row[column] for column in mapping.completions], list(mapping.completions)
    if len(raws) == 1 and isinstance(raws[0], list) and not _is_chat(raws[0]):
        paths = [f"{paths[0]}.{i}" for i in range(len(raws[0]))]
        raws = raws[0]
    if not 1 <= len(raws) <= MAX_COMPLETIONS:
        raise BadRow(mapping.completions[0], f"has {len(raws)} completions; 1 to {MAX_COMPLETIONS} are possible")
    models = _models(row, mapping, len(raws))
    pairs = zip(raws, paths, models, strict=True)
    return [_completion(raw, path, model, options) for raw, path, model in pairs]


def _is_chat(raw: list[Any]) -> bool:
    return bool(raw) and all(isinstance(item, Mapping) and "role" in item for item in raw)


def _completion(raw: object, path: str, model: str | None, options: ReadOptions) -> dict[str, Any]:
    if isinstance(raw, list) and _is_chat(raw):
        messages = checked_messages(raw, path, options)
        if len(messages) != 1 or messages[0]["role"] != "assistant":
            raise BadRow(path, "must be one assistant message", "Put earlier messages into the prompt.")
        raw = messages[0]["content"]
    elif isinstance(raw, Mapping):
        model = model or (str(raw["model"]) if raw.get("model") else None)
        path, raw = f"{path}.content", raw.get("content", raw.get("text"))
    return {"content": checked_content(raw, path, options), "model": model}


def _models(row: Row, mapping: ColumnMapping, n: int) -> list[str | None]:
    raws = [row[column] for column in mapping.models]
    if len(raws) == 1 and isinstance(raws[0], list):
        raws = raws[0]
    if not raws:
        return [None] * n
    if len(raws) != n:
        raise BadRow(mapping.models[0], f"names {len(raws)} models for {n} completions")
    return [str(raw)[:200] if raw else None for raw in raws]


def _pair(row: Row, mapping: ColumnMapping, options: ReadOptions) -> tuple[list[Message], list[dict[str, Any]], Side]:
    """A chosen/rejected row. Which of the two is stored first follows from a hash of their texts, so that the
    position never tells which one was chosen."""
    assert mapping.chosen is not None
    assert mapping.rejected is not None
    raws = [row[mapping.chosen], row[mapping.rejected]]
    models = _models(row, mapping, 2)
    if all(is_dialogue(raw) or (isinstance(raw, list) and len(raw) > 1) for raw in raws):
        chats = [_chat(raw, path, options) for raw, path in zip(raws, ("chosen", "rejected"), strict=True)]
        prompt, *texts = split_pair(*chats)
        paths = (mapping.chosen, mapping.rejected)
        ready: list[dict[str, Any]] = [
            {"content": checked_content(t, p, options), "model": m}
            for t, p, m in zip(texts, paths, models, strict=True)
        ]
    elif mapping.prompt is None:
        raise BadRow("prompt", "is missing", "Map the prompt, or use dialogues as chosen and rejected.")
    else:
        prompt = _prompt(row, mapping, options)
        ready = [
            _completion(raw, path, model, options)
            for raw, path, model in zip(raws, (mapping.chosen, mapping.rejected), models, strict=True)
        ]
    if ready[0]["content"] == ready[1]["content"]:
        raise BadRow(mapping.rejected, "equals the chosen text", "A preference needs two different completions.")
    if _digest(ready[1]["content"]) < _digest(ready[0]["content"]):
        return prompt, ready[::-1], "b"
    return prompt, ready, "a"


def _digest(content: Content) -> bytes:
    text = content if isinstance(content, str) else json.dumps(content, sort_keys=True)
    return blake2b(text.encode(), digest_size=16).digest()


def _recorded_side(row: Row, mapping: ColumnMapping, options: ReadOptions) -> Side | str:
    """The recorded vote: a side, or already a value of the question."""
    if mapping.preference is None:
        return "skip"
    cell = row[mapping.preference]
    text = "" if cell is None else str(cell).strip()
    if text in mapping.values:
        return mapping.values[text]
    if text in preference_values(options.steps):
        return text
    if not mapping.values and text.lower() in SIDE_WORDS:
        return SIDE_WORDS[text.lower()]
    known = ", ".join(mapping.values or ("a", "tie", "b", "both-bad", *preference_values(options.steps)))
    hint = f"Known: {known}. Say in the mapping what other values mean."
    raise BadRow(mapping.preference, f"{text[:60]!r} is not a known preference", hint)


def _annotations(
    row: Row, mapping: ColumnMapping, options: ReadOptions, side: Side | str, n: int
) -> list[RecordedAnnotation]:
    if side == "skip":
        return []
    if n != 2:
        raise BadRow(mapping.preference or "preference", f"a preference needs 2 completions, the row has {n}")
    if side in ("a", "tie", "b"):
        value = decisive(cast(Literal["a", "tie", "b"], side), options.steps)
    else:
        value = BOTH_BAD if side == "both-bad" else side
    annotator = row.get(mapping.annotator) if mapping.annotator else None
    name = checked_id(annotator, mapping.annotator or "annotator") if annotator not in (None, "") else "imported"
    return [RecordedAnnotation(name, "human", {options.question: preference_answer(value)})]


def json_value(value: Any, path: str) -> Any:
    """A cell as JSON: dates in ISO 8601, decimals as text, NaN as null. Raises BadRow for bytes and the like."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, list):
        return [json_value(item, path) for item in value]
    if isinstance(value, dict):
        return {str(key): json_value(item, path) for key, item in value.items()}
    raise BadRow(path, f"holds {type(value).__name__}, which is not JSON", "Leave this column out.")
