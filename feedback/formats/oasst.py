"""OpenAssistant's message trees: conversations whose replies people ranked.

Every message with two or more replies of which some are ranked becomes an instance: the path to it is the prompt, its
replies are the completions, and their ranks (0 is best) the consensus of rankers whose names are not published:
``consensus``. A reply without a rank is unranked. What else a tree says of a reply (id, emojis, review, model-written)
stands in ``meta.replies``, by completion.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from feedback.formats.one_file import file_with, instances_of
from feedback.formats.records import (
    MAX_COMPLETIONS,
    MAX_MESSAGES,
    BadRow,
    ImportedInstance,
    Message,
    ReadOptions,
    RecordedAnnotation,
    RowError,
    checked_id,
    checked_meta,
    checked_text,
)
from feedback.formats.tables import Row

ANNOTATOR = "consensus"
_ROLES = {"prompter": "user", "assistant": "assistant"}


def is_oasst(path: Path) -> bool:
    """Whether ``path`` is a file of message trees, or a folder with one."""
    return _file(path) is not None


def _file(path: Path) -> Path | None:
    return file_with(path, {"message_tree_id", "prompt"})


def questions(options: ReadOptions) -> list[dict[str, Any]]:
    """One ranking; replies may be unranked."""
    return [
        {
            "kind": "ranking",
            "name": "ranking",
            "title": "Rank the replies",
            "allow_partial": True,
            "allow_unacceptable": False,
        }
    ]


def read_oasst(path: Path, options: ReadOptions) -> Iterator[ImportedInstance | RowError]:
    """Stream the ranked lists of each tree, from its root to its leaves."""
    file = _file(path)
    if file is None:
        yield RowError(0, "file", "no file of message trees found")
        return
    yield from instances_of(file, options, lambda row, line: _ranked(row, line, options))


def _ranked(row: Row, line: int, options: ReadOptions) -> list[ImportedInstance]:
    """Raises BadRow for a tree with any bad message: part of a tree is no tree."""
    tree = {"message_tree_id": checked_id(row.get("message_tree_id"), "message_tree_id")}
    tree["tree_state"] = str(row.get("tree_state", ""))
    found: list[ImportedInstance] = []
    waiting: list[tuple[Any, list[Message], str]] = [(row.get("prompt"), [], "prompt")]
    while waiting:
        raw, before, place = waiting.pop()
        path = [*before, _message(raw, place, options)]
        replies = _replies(raw, place)
        ranks = [_rank(reply, place) for reply in replies]
        if len(replies) > 1 and any(rank is not None for rank in ranks):
            found.append(_instance(raw, replies, ranks, path, tree, line, options))
        following = [(reply, path, f"{place}.replies.{i}") for i, reply in enumerate(replies)]
        waiting += reversed(following)
    return found


def _message(raw: Any, place: str, options: ReadOptions) -> Message:
    if not isinstance(raw, dict) or raw.get("role") not in _ROLES:
        raise BadRow(place, f"must be a message of {' or '.join(_ROLES)}")
    if place.count(".replies") >= MAX_MESSAGES:
        raise BadRow(place, f"lies deeper than {MAX_MESSAGES} messages")
    message = {"role": _ROLES[raw["role"]], "content": checked_text(raw.get("text"), f"{place}.text", options)}
    language = raw.get("lang")
    return message | ({"lang": language} if isinstance(language, str) else {})


def _replies(raw: dict[str, Any], place: str) -> list[dict[str, Any]]:
    replies = raw.get("replies") or []
    if not isinstance(replies, list) or any(not isinstance(reply, dict) for reply in replies):
        raise BadRow(f"{place}.replies", "must be a list of messages")
    return replies


def _rank(reply: dict[str, Any], place: str) -> int | None:
    rank = reply.get("rank")
    if rank is not None and (not isinstance(rank, int) or isinstance(rank, bool) or rank < 0):
        raise BadRow(f"{place}.replies", f"the rank {str(rank)[:20]!r} is not a whole number of 0 or more")
    return rank


def _instance(
    raw: dict[str, Any],
    replies: list[dict[str, Any]],
    ranks: list[int | None],
    prompt: list[Message],
    tree: dict[str, Any],
    line: int,
    options: ReadOptions,
) -> ImportedInstance:
    identity = checked_id(raw.get("message_id"), "message_id")
    if len(replies) > MAX_COMPLETIONS:
        raise BadRow("replies", f"{identity} has {len(replies)} replies; the limit is {MAX_COMPLETIONS}")
    groups = [[i for i, one in enumerate(ranks) if one == rank] for rank in sorted({r for r in ranks if r is not None})]
    completions: list[dict[str, str | None]] = [
        {
            **_message(reply, f"replies.{i}", options),
            "model": str(reply["model_name"]) if "model_name" in reply else None,
        }
        for i, reply in enumerate(replies)
    ]
    for completion in completions:
        del completion["role"]
    known = ("text", "role", "replies", "parent_id", "rank")
    notes = [{key: value for key, value in reply.items() if key not in known} for reply in replies]
    meta = checked_meta({**tree, "message_id": identity, "replies": notes, "anonymous_annotators": True})
    said = RecordedAnnotation(ANNOTATOR, "human", {"ranking": {"groups": groups, "unacceptable": []}})
    return ImportedInstance(f"oasst-{identity}", prompt, completions, meta, "oasst", [said], line)
