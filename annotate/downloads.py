"""Files that a browser or a program fetches: with a strong ETag, and in parts (RFC 9110 ranges)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header, parse_etags

_RANGE = re.compile(r"^bytes=(\d{0,19})-(\d{0,19})$")
_CHUNK = 256 * 1024
_TYPES = {
    ".md": "text/markdown; charset=utf-8",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".gz": "application/gzip",
}


class Unsatisfiable(ValueError):
    """The range lies outside the file."""


def wanted_range(header: str, size: int) -> tuple[int, int] | None:
    """First and last byte (inclusive) that a Range header asks of ``size`` bytes.

    ``None``: send all (no header, several ranges, or one that is malformed, which a server may ignore).
    Raises Unsatisfiable when the range starts past the end or asks for the last 0 bytes.
    """
    match = _RANGE.match(header.replace(" ", ""))
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        first, last = max(0, size - int(match[2])), size - 1
        if not int(match[2]) or not size:
            raise Unsatisfiable
        return first, last
    first, last = int(match[1]), int(match[2]) if match[2] else size - 1
    if match[2] and last < first:
        return None
    if first >= size:
        raise Unsatisfiable
    return first, min(last, size - 1)


def send_file(
    request: HttpRequest, path: Path, *, sha256: str, name: str, content_type: str | None = None
) -> HttpResponseBase:
    """The file, or the part that the request asks for; 304 when the client has it, 416 for a part past its end.
    Http404 once the file is gone.

    Without ``content_type`` the name's ending says it.
    """
    try:
        etag, size = f'"{sha256}"', path.stat().st_size
    except FileNotFoundError as error:
        raise Http404 from error
    if_none_match = parse_etags(request.headers.get("If-None-Match", ""))
    if etag in if_none_match or "*" in if_none_match:
        return HttpResponse(status=304, headers={"ETag": etag})
    if_range = request.headers.get("If-Range")
    header = request.headers.get("Range", "") if if_range in (None, etag) else ""
    try:
        part = wanted_range(header, size)
    except Unsatisfiable:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}", "ETag": etag})
    first, last = part or (0, size - 1)
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Content-Length": str(last - first + 1),
        "Content-Disposition": content_disposition_header(True, name) or "attachment",
        "Content-Type": content_type or _TYPES.get(path.suffix, "application/octet-stream"),
        "Cache-Control": "private, no-cache",
    }
    if part:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    status = 206 if part else 200
    if request.method == "HEAD":
        return HttpResponse(status=status, headers=headers)
    return StreamingHttpResponse(_bytes(path, first, last), status=status, headers=headers)


def _bytes(path: Path, first: int, last: int) -> Iterator[bytes]:
    left = last - first + 1
    with path.open("rb") as file:
        file.seek(first)
        while left > 0 and (chunk := file.read(min(_CHUNK, left))):
            left -= len(chunk)
            yield chunk
