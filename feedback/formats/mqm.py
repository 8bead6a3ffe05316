"""WMT's MQM: error spans that professional translators marked in a translation or in its source.

A row is one error of one rater in one segment of one system, marked by ``<v>`` and ``</v>`` in ``target`` or
``source``; a row ``No-error`` marks nothing. Rows become instances: the source text is the prompt, a system's
translation the completion. A system named ``X_with_Y`` was shown beside ``Y``: both are the two completions of one
instance. Texts are stored without marks; where some rows of a segment lost white space at the end, the longest stands.

What spans cannot hold stays in the annotation's ``details.rows``, in the order of the file: the metadata of the
side-by-side files, a comment on no error, the verdict of an attention check (``HOTW-test``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from feedback.formats.lines import read_lines
from feedback.formats.records import (
    BadRow,
    ImportedInstance,
    ReadOptions,
    RecordedAnnotation,
    RowError,
    checked_id,
    checked_meta,
    checked_text,
)
from feedback.strict_json import InvalidJSON, parse

# the hierarchy of WMT's annotation guidelines, and what the released files call its parts
TYPES: dict[str, tuple[str, ...]] = {
    "Accuracy": (
        "Addition",
        "Creative Reinterpretation",
        "Gender Mismatch",
        "Mistranslation",
        "Omission",
        "Omission (Translation)",
        "Omission (Translation 1)",
        "Omission (Translation 2)",
        "Source language fragment",
        "Untranslated text",
    ),
    "Fluency": (
        "Character encoding",
        "Display",
        "Grammar",
        "Inconsistency",
        "Punctuation",
        "Register",
        "Spelling",
        "Text-Breaking",
    ),
    "Terminology": ("Inappropriate for context", "Inconsistent", "Inconsistent use of terminology"),
    "Style": ("Archaic or obscure word choice", "Awkward", "Bad sentence structure", "Unnatural or awkward"),
    "Locale convention": (
        "Address format",
        "Currency format",
        "Date format",
        "Name format",
        "Number format",
        "Telephone format",
        "Time format",
    ),
    "Source issue": (),
    "Non-translation!": (),
    "Other": (),
}
SEVERITIES = {"Neutral": 0.0, "Minor": 1.0, "Major": 5.0, "Critical": 25.0}
_IDS: tuple[tuple[str, ...], ...] = (("doc", "doc_id", "seg_id"), ("doc", "docSegId", "globalSegId"))
_PLACE = ("doc", "doc_id", "seg_id", "docSegId", "globalSegId")
_NEEDED = ("system", "doc", "rater", "source", "target", "category", "severity")
_MARKS = re.compile(r"</?v>")
_LANGUAGES = re.compile(r":([a-z]{2})-([a-z]{2})$")
_PAIR = re.compile(r"^(en|zh|de|ru|he|ja|cs|uk|es|hi|is)(en|zh|de|ru|he|ja|cs|uk|es|hi|is)$")
_CHECK = "HOTW-test"


@dataclass(frozen=True, slots=True)
class _Line:
    """A row of the file without its marks; ``span`` is ``(on the source, start, end)``."""

    number: int
    cells: dict[str, str]
    source: str
    target: str
    span: tuple[bool, int, int] | None


@dataclass(slots=True)
class _Rater:
    spans: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)


def is_mqm(path: Path) -> bool:
    """Whether ``path`` is an MQM table, or a folder with one."""
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    found = sorted(path.glob("*.tsv*")) if path.is_dir() else [path] if path.is_file() else []
    return [file for file in found if ".tsv" in file.name and _header(file) is not None]


def _header(file: Path) -> list[str] | None:
    first = next(iter(read_lines(file, ReadOptions())), None)
    if first is None or isinstance(first, RowError):
        return None
    columns = first[1].decode(errors="replace").split("\t")
    named = set(_NEEDED) <= set(columns) and any(set(ids) <= set(columns) for ids in _IDS)
    return columns if named else None


def questions(options: ReadOptions) -> list[dict[str, Any]]:
    """One span question with MQM's categories and severities, on the source too."""
    return [
        {
            "kind": "span",
            "name": "errors",
            "title": "Mark the errors of the translation",
            "description": "Mark what is left out in the source.",
            "types": [{"name": name, "subtypes": list(subtypes)} for name, subtypes in TYPES.items()],
            "severities": SEVERITIES,
            "on_prompt": True,
        }
    ]


def read_mqm(path: Path, options: ReadOptions) -> Iterator[ImportedInstance | RowError]:
    """Stream the instances of a table or of all tables of a folder, one segment in memory at a time.

    A row that cannot be read is an error and leaves the others of its segment in.
    """
    files = _files(path)
    if not files:
        yield RowError(0, "file", "no MQM table found", "It needs the columns system, doc, rater, source, target, …")
    for file in files:
        name = file.name.split(".tsv")[0]
        for entry in _segments(file, options):
            if isinstance(entry, RowError):
                yield entry if len(files) == 1 else RowError(entry.line, f"{name}:{entry.field}", entry.reason)
            else:
                yield from _instances(entry, name, options)


def _segments(file: Path, options: ReadOptions) -> Iterator[list[_Line] | RowError]:
    """The rows of each segment, which stand together in a file, and every row that cannot be read."""
    columns = _header(file) or []
    ids = next(ids for ids in _IDS if set(ids) <= set(columns))
    current: list[_Line] = []
    for entry in read_lines(file, options):
        if isinstance(entry, RowError):
            yield entry
            continue
        number, data = entry
        if number == 1 or not data:
            continue
        try:
            line = _line(number, data, columns, options)
        except BadRow as error:
            yield error.at(number)
            continue
        if current and any(line.cells[name] != current[0].cells[name] for name in ids):
            yield current
            current = []
        current.append(line)
    if current:
        yield current


def _line(number: int, data: bytes, columns: list[str], options: ReadOptions) -> _Line:
    """Cells are as they stand: quotes in them mean themselves. Raises BadRow."""
    try:
        values = data.decode().split("\t")
    except UnicodeDecodeError as error:
        raise BadRow("line", f"is not UTF-8 (byte {error.start})") from error
    names = [name for name in columns if not name.startswith("#")]
    if len(values) != len(names):
        raise BadRow("line", f"has {len(values)} cells, the header has {len(names)}")
    cells = dict(zip(names, values, strict=True))
    checked_id(cells["rater"], "rater")
    texts = {name: checked_text(_MARKS.sub("", cells[name]), name, options) for name in ("source", "target")}
    return _Line(number, cells, texts["source"], texts["target"], _marked(cells))


def _marked(cells: dict[str, str]) -> tuple[bool, int, int] | None:
    """Where the row's mark is, in the text without marks. Raises BadRow for marks that do not enclose one part."""
    found: tuple[bool, int, int] | None = None
    for name in ("source", "target"):
        marks = [(mark[0], mark.start()) for mark in _MARKS.finditer(cells[name])]
        if not marks:
            continue
        if [mark for mark, _ in marks] != ["<v>", "</v>"] or found is not None:
            raise BadRow(name, "must mark one part, from <v> to </v>", "Correct the marks, or remove the row.")
        start, end = marks[0][1], marks[1][1] - len("<v>")
        if start == end:
            raise BadRow(name, "marks an empty part")
        found = (name == "source", start, end)
    return found


def _instances(lines: list[_Line], name: str, options: ReadOptions) -> Iterator[ImportedInstance | RowError]:
    """One instance per system of a segment, or per pair of systems that were shown side by side."""
    by_system: dict[str, list[_Line]] = {}
    for line in lines:
        by_system.setdefault(line.cells["system"], []).append(line)
    beside = {system: system.rpartition("_with_")[2] for system in by_system if "_with_" in system}
    shown = {system: other for system, other in beside.items() if other in by_system}
    for system in by_system:
        if system not in shown.values():
            systems = [system, shown[system]] if system in shown else [system]
            yield from _instance({each: by_system[each] for each in systems}, name, options)


def _instance(
    by_system: dict[str, list[_Line]], name: str, options: ReadOptions
) -> Iterator[ImportedInstance | RowError]:
    every = [line for lines in by_system.values() for line in lines]
    source = _longest(line.source for line in every)
    targets = [_longest(line.target for line in lines) for lines in by_system.values()]
    raters: dict[str, _Rater] = {}
    for target, lines in enumerate(by_system.values()):
        for line in lines:
            try:
                _agree(line, source, targets[target])
                _say(raters.setdefault(line.cells["rater"], _Rater()), line, target)
            except BadRow as error:
                yield error.at(line.number)
    first = every[0]
    ids: dict[str, Any] = {key: first.cells[key] for key in _PLACE if key in first.cells}
    place = "-".join(str(value) for value in ids.values())
    said = [_recorded(rater, raters[rater]) for rater in raters]
    languages = _languages(name, ids["doc"])
    prompt = {"role": "user", "content": source} | ({"lang": languages[0]} if languages else {})
    language: dict[str, str | None] = {"lang": languages[1]} if languages else {}
    completions: list[dict[str, str | None]] = [
        {"content": text, "model": system, **language} for text, system in zip(targets, by_system, strict=True)
    ]
    try:
        external_id = checked_id(f"{name.split('.')[0]}-{place}-{next(iter(by_system))}")
        yield ImportedInstance(external_id, [prompt], completions, checked_meta(ids), "wmt_mqm", said, first.number)
    except BadRow as error:
        yield error.at(first.number)


def _longest(texts: Iterable[str]) -> str:
    return max(texts, key=len)


def _agree(line: _Line, source: str, target: str) -> None:
    for name, mine, whole in (("source", line.source, source), ("target", line.target, target)):
        if mine.rstrip() != whole.rstrip():
            raise BadRow(name, "is another text than in the other rows of this segment")


def _say(rater: _Rater, line: _Line, target: int) -> None:
    """Add what the row says. Raises BadRow for a category or severity that is not MQM's."""
    cells, metadata = line.cells, _metadata(line.cells.get("metadata", ""))
    comment = cells.get("comment", "")
    if cells["severity"] == _CHECK or cells["category"] == "No-error":
        if line.span is not None:
            raise BadRow("category", f"{cells['category']!r} marks a part of the text")
        held = {"category": cells["category"], "severity": cells["severity"], "comment": comment}
        if metadata or comment or cells["severity"] == _CHECK:
            rater.rows.append({"target": target, **held, "metadata": metadata})
        return
    if line.span is None:
        raise BadRow("target", "marks nothing", "Only No-error marks nothing.")
    name, subtype = _category(cells["category"])
    if cells["severity"] not in SEVERITIES:
        raise BadRow("severity", f"{cells['severity'][:40]!r} is not one of {', '.join(SEVERITIES)}")
    if len(comment) > 4000:
        raise BadRow("comment", f"has {len(comment):,} characters; the limit is 4,000")
    on_source, start, end = line.span
    if metadata:
        rater.rows.append({"target": target, "span": len(rater.spans), "metadata": metadata})
    rater.spans.append(
        {
            "target": -1 if on_source else target,
            "start": start,
            "end": end,
            "type": name,
            "subtype": subtype,
            "severity": cells["severity"],
            "comment": comment,
            "confidence": None,
        }
    )


def _category(text: str) -> tuple[str, str]:
    name, _, subtype = text.partition("/")
    if name not in TYPES or (subtype and subtype not in TYPES[name]):
        raise BadRow("category", f"{text[:80]!r} is not a category of MQM")
    return name, subtype


def _metadata(text: str) -> Any:
    if not text:
        return None
    try:
        return parse(text.encode())
    except InvalidJSON as error:
        raise BadRow("metadata", f"is not JSON: {error.reason}") from error


def _recorded(name: str, rater: _Rater) -> RecordedAnnotation:
    answers = {"errors": {"spans": rater.spans, "missing": []}}
    return RecordedAnnotation(name, "human", answers, details={"rows": rater.rows} if rater.rows else {})


def _languages(name: str, doc: str) -> tuple[str, str] | None:
    """Of source and translation, by a part such as ``ende`` of the file's name or ``en-de`` of the document's."""
    found = _LANGUAGES.search(doc)
    found = found or next((match for part in re.split(r"[_.]", name) if (match := _PAIR.match(part))), None)
    return (found[1], found[2]) if found else None
