"""What every reader yields: instances with their recorded annotations, or a row error that a person can act on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from feedback.content import MAX_PARTS, MEDIA_KINDS, media_of, text_of
from feedback.questions import MAX_TEXT, value_of_strength
from feedback.text import InvalidText, check_text, check_texts

ROLES = ("system", "user", "assistant", "tool")
MAX_COMPLETIONS = 12
MAX_MESSAGES = 200
MAX_ID = 200
MAX_META_BYTES = 256 * 1024

MAX_ALT = 2_000

Content = str | list[dict[str, str]]
Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RecordedAnnotation:
    """What somebody said before the import. ``answers`` as in :mod:`feedback.questions`, in the stored order of the
    completions; empty for a judge that gave no readable verdict. ``order``: how a judge saw the stored pair.
    ``details``: what else the source holds of this annotation, kept and exported with it."""

    annotator: str
    source: Literal["human", "judge"]
    answers: dict[str, dict[str, Any]]
    order: Literal["ab", "ba"] | None = None
    rationale: str = ""
    annotated_at: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImportedInstance:
    """One prompt with its completions ``[{"content", "model"}]``, contents as in :mod:`feedback.content`; ``line`` is
    where it stood, from 1."""

    external_id: str
    prompt: list[Message]
    completions: list[dict[str, Any]]
    meta: dict[str, Any]
    source: str
    annotations: list[RecordedAnnotation] = field(default_factory=list)
    line: int = 0


@dataclass(frozen=True, slots=True)
class RowError:
    """Why row ``line`` (from 1; 0 for the whole file) was refused. ``reason`` and ``hint`` are sentences."""

    line: int
    field: str
    reason: str
    hint: str = ""


class BadRow(ValueError):
    """A row cannot become an instance; becomes a :class:`RowError` with the line number."""

    def __init__(self, field: str, reason: str, hint: str = "") -> None:
        self.field = field
        self.reason = reason
        self.hint = hint
        super().__init__(f"{field}: {reason}")

    def at(self, line: int) -> RowError:
        return RowError(line, self.field, self.reason, self.hint)


class BadFile(BadRow):
    """The rest of the file cannot be read either; reading stops after this error."""


class ReadOptions(BaseModel):
    """Limits and choices of one import. ``steps`` and ``question`` say which preference a recorded vote becomes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: Literal[3, 5, 7, 9] = 5
    question: str = "overall"
    name: str | None = Field(default=None, min_length=1, max_length=150)  # of the source; default: the file's name
    humans_only: bool = False  # leave out instances that no person annotated
    max_line_bytes: int = Field(default=8 * 1024 * 1024, ge=1024)
    max_total_bytes: int = Field(default=8 * 1024**3, ge=1024)
    max_text: int = Field(default=MAX_TEXT, ge=1, le=MAX_TEXT)
    max_rows: int | None = Field(default=None, ge=1)


def decisive(winner: Literal["a", "tie", "b"], steps: int) -> str:
    """The preference value of a vote without strength: ``clearly`` (plain ``better`` with 3 steps), or ``tie``.

    >>> decisive("a", 5), decisive("b", 3), decisive("tie", 9)
    ('a-is-clearly-better', 'b-is-better', 'tie')
    """
    strength = {3: 1, 5: 2, 7: 3, 9: 3}[steps]
    return value_of_strength({"a": -strength, "tie": 0, "b": strength}[winner], steps)


def preference_answer(value: str) -> dict[str, Any]:
    """A preference answer in the canonical form of ``check_answer``."""
    return {"value": value, "aspects": {}, "confidence": None, "reasons": [], "other_reason": ""}


def preference_question(options: ReadOptions, *, both_bad: bool = False) -> dict[str, Any]:
    """The question that recorded preferences of an import answer, as JSON for ``parse_questions``."""
    title = "Which completion is better?"
    return {
        "kind": "preference",
        "name": options.question,
        "title": title,
        "steps": options.steps,
        "allow_both_bad": both_bad,
    }


def checked_text(text: object, path: str, options: ReadOptions, *, empty: bool = False) -> str:
    """``text`` when it is storable text within the limit. Raises BadRow if not, and for blank text unless ``empty``."""
    if not isinstance(text, str):
        raise BadRow(path, f"must be text, not {type(text).__name__}", "Choose a column that holds text.")
    if not empty and not text.strip():
        raise BadRow(path, "is empty", "Remove the row, or map another column.")
    try:
        return check_text(text, path, options.max_text)
    except InvalidText as error:
        raise BadRow(path, error.reason, "Clean the text and import again.") from error


def checked_messages(raw: object, path: str, options: ReadOptions) -> list[Message]:
    """A chat from ``[{"role", "content"}]``. Of other keys an assistant's ``tool_calls``, a tool's ``name``, ``lang``
    and ``dir`` are kept. Raises BadRow with the path of what is wrong."""
    if not isinstance(raw, list) or not raw:
        raise BadRow(path, "must be a list of messages with role and content")
    if len(raw) > MAX_MESSAGES:
        raise BadRow(path, f"has {len(raw)} messages; the limit is {MAX_MESSAGES}")
    return [_message(item, f"{path}.{i}", options) for i, item in enumerate(raw)]


def _message(raw: object, path: str, options: ReadOptions) -> Message:
    if not isinstance(raw, Mapping):
        raise BadRow(path, "must be an object with role and content")
    role = raw.get("role")
    if role not in ROLES:
        raise BadRow(f"{path}.role", f"{str(role)[:40]!r} is not one of {', '.join(ROLES)}")
    calls = _tool_calls(raw.get("tool_calls"), f"{path}.tool_calls", options) if role == "assistant" else []
    raw_content = "" if raw.get("content") is None and calls else raw.get("content")
    message: Message = {
        "role": str(role),
        "content": checked_content(raw_content, f"{path}.content", options, empty=role in ("tool", "assistant")),
        **_language(raw, path, options),
    }
    if calls:
        message["tool_calls"] = calls
    if role == "tool" and raw.get("name") is not None:
        message["name"] = checked_text(raw["name"], f"{path}.name", options)[:200]
    return message


def _language(raw: Mapping[Any, Any], path: str, options: ReadOptions) -> dict[str, str]:
    """``lang`` and ``dir`` of a text, where the row says them."""
    return {key: checked_text(raw[key], f"{path}.{key}", options)[:40] for key in ("lang", "dir") if raw.get(key)}


def _tool_calls(raw: object, path: str, options: ReadOptions) -> list[dict[str, str]]:
    """Calls as ``{"name", "arguments"}``, also from OpenAI's ``{"function": {…}}``; arguments stay as they were."""
    if raw is None:
        return []
    if not isinstance(raw, list) or len(raw) > MAX_MESSAGES:
        raise BadRow(path, f"must be a list of at most {MAX_MESSAGES} calls")
    return [_tool_call(call, f"{path}.{i}", options) for i, call in enumerate(raw)]


def _tool_call(raw: object, path: str, options: ReadOptions) -> dict[str, str]:
    call = raw.get("function", raw) if isinstance(raw, Mapping) else None
    if not isinstance(call, Mapping):
        raise BadRow(path, "must be an object with name and arguments")
    arguments = call.get("arguments", "")
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False, indent=2, default=str)
    return {
        "name": checked_text(call.get("name"), f"{path}.name", options)[:200],
        "arguments": checked_text(arguments, f"{path}.arguments", options, empty=True),
    }


def checked_content(raw: object, path: str, options: ReadOptions, *, empty: bool = False) -> Content:
    """A text, or a list of parts (see :mod:`feedback.content`), which becomes a text when it has no other. Raises
    BadRow."""
    if not isinstance(raw, list):
        return checked_text(raw, path, options, empty=empty)
    if not 1 <= len(raw) <= MAX_PARTS:
        raise BadRow(path, f"has {len(raw)} parts; 1 to {MAX_PARTS} are possible")
    parts = [_part(part, f"{path}.{i}", options) for i, part in enumerate(raw)]
    text = checked_text(text_of(parts), path, options, empty=bool(media_of(parts)) or empty)
    return parts if media_of(parts) else text


def _part(raw: object, path: str, options: ReadOptions) -> dict[str, str]:
    kind = raw.get("type") if isinstance(raw, Mapping) else None
    if not isinstance(raw, Mapping) or kind not in ("text", *MEDIA_KINDS):
        raise BadRow(f"{path}.type", f"{str(kind)[:40]!r} is not one of text, {', '.join(MEDIA_KINDS)}")
    if kind == "text":
        return {"type": "text", "text": checked_text(raw.get("text"), f"{path}.text", options, empty=True)}
    alt = checked_text(raw.get("alt") or "", f"{path}.alt", options, empty=True)
    return {"type": kind, "file": checked_text(raw.get("file"), f"{path}.file", options), "alt": alt[:MAX_ALT]}


def checked_id(raw: object, path: str = "external_id") -> str:
    """An external id as text: a string or whole number, 1 to 200 characters. Raises BadRow."""
    if isinstance(raw, bool) or not isinstance(raw, (str, int)):
        raise BadRow(path, f"must be text or a whole number, not {type(raw).__name__}")
    text = str(raw).strip()
    if not 1 <= len(text) <= MAX_ID:
        raise BadRow(path, f"must have 1 to {MAX_ID} characters, has {len(text)}")
    try:
        return check_text(text, path)
    except InvalidText as error:
        raise BadRow(path, error.reason) from error


def checked_meta(meta: dict[str, Any]) -> dict[str, Any]:
    """``meta`` when it is small, storable JSON. Raises BadRow naming the key."""
    if not meta:
        return meta
    try:
        check_texts(meta, "meta", max_depth=16)
        size = len(json.dumps(meta, allow_nan=False, ensure_ascii=False))
    except InvalidText as error:
        raise BadRow(error.path, error.reason) from error
    except (TypeError, ValueError) as error:
        raise BadRow("meta", f"is not JSON: {error}") from error
    if size > MAX_META_BYTES:
        raise BadRow("meta", f"has {size:,} characters of JSON; the limit is {MAX_META_BYTES:,}", "Map fewer columns.")
    return meta


def without_repeats(records: Iterator[ImportedInstance | RowError]) -> Iterator[ImportedInstance | RowError]:
    """Pass records on, replacing an instance whose external id came before by a row error that names both lines.

    Keeps 16 bytes and a number per id, not the id.
    """
    lines: dict[bytes, int] = {}
    for record in records:
        if isinstance(record, RowError):
            yield record
            continue
        digest = blake2b(record.external_id.encode(), digest_size=16).digest()
        first = lines.setdefault(digest, record.line)
        if first == record.line:
            yield record
        else:
            reason = f"{record.external_id[:60]!r} on line {record.line} was already on line {first}"
            yield RowError(record.line, "external_id", reason, "Make the ids unique, or map another column.")
