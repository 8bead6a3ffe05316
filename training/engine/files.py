"""Files that are either whole or absent: temp, fsync, rename."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def fsync_path(path: Path) -> None:
    """Force a file's or a directory's content to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Put `text` at `path` so that a reader sees the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        if durable:
            stream.flush()
            os.fsync(stream.fileno())
    os.replace(temporary, path)
    if durable:
        fsync_path(path.parent)


def replace_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Like `replace_text`, for one JSON value; NaN and infinity are refused (ValueError)."""
    replace_text(path, json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n", durable=durable)


def replace_lines(path: Path, rows: Iterable[Any]) -> None:
    """Like `replace_text`, for one JSON value a line."""
    replace_text(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Hexadecimal SHA-256 of a JSON value written canonically (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def file_list(folder: Path, base: Path) -> list[dict[str, Any]]:
    """`{path, sha256, bytes}` of each file under `folder`, with paths relative to `base`, sorted."""
    return [
        {"path": path.relative_to(base).as_posix(), "sha256": sha256_file(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
