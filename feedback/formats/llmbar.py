"""LLMBar: pairs with an objective label, and the verdicts of judges under several prompts in both orders.

The label is one adjudicated verdict of the authors: the person ``adjudicated``. A judge is a model with its prompt
(``GPT-4 CoT``); ``swap = True`` is its verdict on the pair shown the other way round, already turned back. A verdict
that could not be read is an abstention. The prompt ``Swap`` asks again when the orders disagree; its last round counts.
``meta.subset`` is the folder of the pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from feedback.formats.records import (
    BadRow,
    ImportedInstance,
    ReadOptions,
    RecordedAnnotation,
    RowError,
    checked_text,
    decisive,
    preference_answer,
    preference_question,
)
from feedback.formats.tables import Row, read_table

ANNOTATOR = "adjudicated"
_SIDES: dict[object, Literal["a", "b"]] = {1: "a", 2: "b", "1": "a", "2": "b"}
_ORDERS: dict[str, Literal["ab", "ba"]] = {"swap = False": "ab", "swap = True": "ba"}


def is_llmbar(path: Path) -> bool:
    """Whether ``path`` is a folder with LLMBar's subsets."""
    return path.is_dir() and any(file.parent.joinpath("evaluators").is_dir() for file in _sets(path))


def _sets(path: Path) -> list[Path]:
    found = [file for depth in ("", "*/", "*/*/", "*/*/*/") for file in path.glob(f"{depth}dataset.json*")]
    return sorted(found)


def questions(options: ReadOptions) -> list[dict[str, Any]]:
    """One preference; there are no ties."""
    return [preference_question(options)]


def read_llmbar(path: Path, options: ReadOptions) -> Iterator[ImportedInstance | RowError]:
    """Stream the pairs of each subset with the label and every judge's verdicts; one subset in memory at a time."""
    for file in _sets(path):
        subset = file.parent.name
        judged = {
            f"{result.parent.parent.name} {result.parent.name}": _rows(result, subset, options)
            for result in sorted(file.parent.glob("evaluators/*/*/result.json*"))
        }
        for rows in judged.values():
            yield from (entry for entry in rows.values() if isinstance(entry, RowError))
        for line, entry in _rows(file, subset, options).items():
            if isinstance(entry, RowError):
                yield entry
                continue
            try:
                verdicts = {judge: rows.get(line) for judge, rows in judged.items()}
                yield _instance(entry, line, subset, verdicts, options)
            except BadRow as error:
                yield RowError(line, f"{subset}:{error.field}", error.reason, error.hint)


def _rows(file: Path, subset: str, options: ReadOptions) -> dict[int, Row | RowError]:
    found: dict[int, Row | RowError] = {}
    for entry in read_table(file, options):
        if isinstance(entry, RowError):
            place = f"{subset}/{file.parent.name}:{entry.field}"
            found[entry.line] = RowError(entry.line, place, entry.reason, entry.hint)
        else:
            found[entry[0]] = entry[1]
    return found


def _instance(
    row: Row, line: int, subset: str, judged: dict[str, Row | RowError | None], options: ReadOptions
) -> ImportedInstance:
    texts = [checked_text(row.get(name), name, options) for name in ("output_1", "output_2")]
    side = _SIDES.get(row.get("label"))
    if side is None:
        raise BadRow("label", f"{str(row.get('label'))[:20]!r} is not 1 or 2")
    said = [RecordedAnnotation(ANNOTATOR, "human", _answer(side, options))]
    for judge, verdict in judged.items():
        if isinstance(verdict, dict):
            if any(verdict.get(name) != row.get(name) for name in ("input", "output_1", "output_2")):
                raise BadRow(f"evaluators.{judge}", "row of another pair")
            said += _verdicts(judge, verdict, options)
    completions: list[dict[str, str | None]] = [{"content": text, "model": None} for text in texts]
    prompt = [{"role": "user", "content": checked_text(row.get("input"), "input", options)}]
    meta = {"subset": subset, "anonymous_annotators": True}
    return ImportedInstance(f"llmbar-{subset}-{line}", prompt, completions, meta, "llmbar", said, line)


def _answer(side: Literal["a", "b"] | None, options: ReadOptions) -> dict[str, dict[str, Any]]:
    return {options.question: preference_answer(decisive(side, options.steps))} if side else {}


def _verdicts(judge: str, row: Row, options: ReadOptions) -> Iterator[RecordedAnnotation]:
    results = row.get("results")
    if not isinstance(results, list) or not results or any(not isinstance(one, dict) for one in results):
        raise BadRow(f"evaluators.{judge}.results", "must be a list of objects")
    earlier = {"earlier_rounds": results[:-1]} if results[:-1] else {}
    for key, order in _ORDERS.items():
        told = results[-1].get(key)
        if isinstance(told, dict):
            reason = told.get("completion")
            text = reason[0] if isinstance(reason, list) and reason and isinstance(reason[0], str) else ""
            answer = _answer(_SIDES.get(told.get("winner")), options)
            yield RecordedAnnotation(judge, "judge", answer, order, text[: options.max_text], details=earlier)
