"""The column that says which media files a row shows, in versions of tasks that have some. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from feedback.content import media_of
from feedback.formats.shapes import Shape
from feedback.media_types import ending_of

MEDIA = pa.list_(
    pa.struct(
        [
            ("of", pa.string()),
            ("index", pa.int32()),
            ("kind", pa.string()),
            ("name", pa.string()),
            ("alt", pa.string()),
            ("sha256", pa.string()),
            ("path", pa.string()),
        ]
    )
)
WORDS = (
    "media holds the images, audio and video that a row shows, in their order: of says whether prompt, completion, "
    "chosen or rejected shows it, index which message or completion in stored order, and path where the file lies in "
    "the version's folder."
)


@dataclass(frozen=True, slots=True)
class File:
    """A media file of a task as a version holds it."""

    sha256: str
    content_type: str

    @property
    def path(self) -> str:
        """Where it lies, below the version's folder."""
        return f"media/{self.sha256}.{ending_of(self.content_type)}"


def with_media(shape: Shape) -> Shape:
    """The shape with the column ``media`` at its end."""
    return replace(shape, schema=shape.schema.append(pa.field("media", MEDIA)), title=f"{shape.title} {WORDS}")


def media_rows(
    prompt: Sequence[Mapping[str, Any]],
    completions: Sequence[tuple[str, int, Mapping[str, Any]]],
    files: Mapping[str, File],
) -> Iterator[dict[str, Any]]:
    """The values of the column. ``completions``: ``(of, stored index, completion)`` of those that the row shows;
    ``files``: by name. A file that is not there any more has a name and neither ``sha256`` nor ``path``."""
    for of, index, holder in (*(("prompt", n, message) for n, message in enumerate(prompt)), *completions):
        for part in media_of(holder["content"]):
            file = files.get(part["file"])
            known = {"sha256": file and file.sha256, "path": file and file.path}
            told = {"kind": part["type"], "name": part["file"], "alt": part.get("alt", "")}
            yield {"of": of, "index": index, **told, **known}
