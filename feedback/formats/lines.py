"""Bounded reading of (gzipped) files: no line, no expansion and no total can exhaust memory or time."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from feedback.formats.records import BadFile, BadRow, ReadOptions, RowError

_CHUNK = 1024 * 1024
_BOMB_FLOOR = 64 * 1024 * 1024  # below this a high ratio is harmless
_BOMB_RATIO = 200  # real JSON lines compress 3 to 20 times; DEFLATE reaches 1032


class BoundedFile:
    """A binary file, decompressed when it starts with the gzip magic, that counts what it hands out.

    ``read`` and ``readline`` raise BadFile past ``max_total_bytes``, for a file that expands suspiciously, and for
    damaged gzip data.
    """

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self._limit = options.max_total_bytes
        self._size = path.stat().st_size
        self._raw = path.open("rb")
        self.zipped = self._raw.read(2) == b"\x1f\x8b"
        self._raw.seek(0)
        self._file: BinaryIO = cast(BinaryIO, gzip.GzipFile(fileobj=self._raw)) if self.zipped else self._raw
        self.total = 0

    def __enter__(self) -> BoundedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._raw.close()

    def read(self, size: int) -> bytes:
        try:
            return self._counted(self._file.read(size))
        except (EOFError, OSError, zlib.error) as error:
            raise _damaged(error) from error

    def readline(self, size: int) -> bytes:
        try:
            return self._counted(self._file.readline(size))
        except (EOFError, OSError, zlib.error) as error:
            raise _damaged(error) from error

    def _counted(self, data: bytes) -> bytes:
        self.total += len(data)
        if self.total > self._limit:
            raise BadFile("file", f"holds more than {self._limit:,} bytes", "Split the file.")
        if self.zipped and self.total > max(_BOMB_FLOOR, _BOMB_RATIO * self._size):
            raise BadFile("file", f"expands more than {_BOMB_RATIO} times", "Upload it uncompressed.")
        return data


def _damaged(error: Exception) -> BadFile:
    return BadFile("file", f"cannot be read: {error}", "Compress the file again, or upload it uncompressed.")


def read_lines(path: Path, options: ReadOptions) -> Iterator[tuple[int, bytes] | RowError]:
    """Yield ``(line number from 1, line without its end)``; a line over ``max_line_bytes`` becomes a row error.

    An unreadable rest of the file becomes one row error, and reading stops. A UTF-8 byte order mark is dropped.
    """
    number = 1
    with BoundedFile(path, options) as file:
        try:
            while line := file.readline(options.max_line_bytes + 1):
                if len(line) > options.max_line_bytes:
                    _skip_line(file, line)
                    reason = f"the line has more than {options.max_line_bytes:,} bytes"
                    yield RowError(number, "line", reason, "Shorten or split it.")
                else:
                    start = 3 if number == 1 and line.startswith(b"\xef\xbb\xbf") else 0
                    yield number, line[start:].rstrip(b"\r\n")
                number += 1
        except BadRow as error:
            yield error.at(number)


def _skip_line(file: BoundedFile, line: bytes) -> None:
    while line and not line.endswith(b"\n"):
        line = file.readline(_CHUNK)
