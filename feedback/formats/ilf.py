"""ILF: a model's wrong program, a person's critique of it, and the program as the person corrected it.

Programs and the prompt are stored as fenced code, so that they are shown and trained on as code; the fence is the only
thing added (:func:`fenced`). The refinement is the whole corrected program. Half of the workers are unnamed:
``anonymous-slot-1``. Tests and results stand in ``meta``; nothing is ever executed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from feedback.formats.one_file import file_with, instances_of
from feedback.formats.records import (
    ImportedInstance,
    ReadOptions,
    RecordedAnnotation,
    RowError,
    checked_id,
    checked_meta,
    checked_text,
)
from feedback.formats.tables import Row

ANONYMOUS = "anonymous-slot-1"
_NEEDED = ("task_id", "prompt", "Feedback", "original_model_completion", "unedited_annotator_completion")
_TICKS = re.compile(r"`{3,}")


def is_ilf(path: Path) -> bool:
    """Whether ``path`` is a file of ILF's annotations, or a folder with one."""
    return _file(path) is not None


def _file(path: Path) -> Path | None:
    return file_with(path, set(_NEEDED))


def questions(options: ReadOptions) -> list[dict[str, Any]]:
    """One critique with a refinement."""
    title = "What is wrong with the program, and how is it right?"
    return [{"kind": "critique", "name": "critique", "title": title, "ask_refinement": True, "required": True}]


def read_ilf(path: Path, options: ReadOptions) -> Iterator[ImportedInstance | RowError]:
    """Stream one instance per row."""
    file = _file(path)
    if file is None:
        yield RowError(0, "file", "no file of ILF's annotations found")
        return
    yield from instances_of(file, options, lambda row, line: [_instance(row, line, options)])


def fenced(code: str) -> str:
    """``code`` as a fenced block of markdown; between the first and the last line stands exactly ``code``.

    >>> fenced("x = 1")
    '```python\\nx = 1\\n```'
    """
    longest = max((len(ticks) for ticks in _TICKS.findall(code)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}python\n{code}\n{fence}"


def _instance(row: Row, line: int, options: ReadOptions) -> ImportedInstance:
    code = {name: fenced(checked_text(row.get(name), name, options)) for name in (_NEEDED[1], *_NEEDED[3:])}
    critique = checked_text(row.get("Feedback"), "Feedback", options)
    worker = row.get("worker_id")
    name = ANONYMOUS if worker is None else checked_id(worker, "worker_id")
    answers = {"critique": {"critiques": [critique], "refinements": [code["unedited_annotator_completion"]]}}
    used = {*_NEEDED, "worker_id"} - {"task_id"}
    meta = {key: value for key, value in row.items() if key not in used} | {"anonymous_annotators": worker is None}
    return ImportedInstance(
        external_id=f"ilf-{checked_id(row.get('task_id'), 'task_id')}",
        prompt=[{"role": "user", "content": code["prompt"]}],
        completions=[{"content": code["original_model_completion"], "model": None}],
        meta=checked_meta(meta),
        source="ilf",
        annotations=[RecordedAnnotation(name, "human", answers)],
        line=line,
    )
