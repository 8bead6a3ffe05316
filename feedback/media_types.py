"""What a media file is, told by its first bytes and never by its name. Pure.

Only types that browsers show without running anything are known: SVG, HTML and documents are not among them.
"""

from __future__ import annotations

from typing import NamedTuple

HEAD = 64
"""How many first bytes decide."""
ISO_VIDEO = (b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"dash", b"M4V ", b"MSNV")
ISO_AUDIO = (b"M4A ", b"M4B ")
ISO_IMAGE = (b"avif",)


class MediaType(NamedTuple):
    """``kind`` is image, audio or video; ``content_type`` what it is served as."""

    kind: str
    content_type: str


STARTS: tuple[tuple[bytes, MediaType], ...] = (
    (b"\x89PNG\r\n\x1a\n", MediaType("image", "image/png")),
    (b"\xff\xd8\xff", MediaType("image", "image/jpeg")),
    (b"GIF87a", MediaType("image", "image/gif")),
    (b"GIF89a", MediaType("image", "image/gif")),
    (b"fLaC", MediaType("audio", "audio/flac")),
    (b"ID3", MediaType("audio", "audio/mpeg")),
    *((bytes((0xFF, second)), MediaType("audio", "audio/mpeg")) for second in (0xFB, 0xFA, 0xF3, 0xF2)),
)


ENDINGS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/avif": "avif",
    "audio/flac": "flac",
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
    "audio/ogg": "ogg",
    "audio/mp4": "m4a",
    "video/mp4": "mp4",
    "video/webm": "webm",
}


def ending_of(content_type: str) -> str:
    """The ending of a file name for a known type, without the dot."""
    return ENDINGS[content_type]


def media_type(head: bytes) -> MediaType | None:
    """The type of a file that begins with ``head`` (at least HEAD bytes, or all of a shorter file), if it is known."""
    for start, found in STARTS:
        if head.startswith(start):
            return found
    if head[:4] == b"RIFF":
        return {b"WAVE": MediaType("audio", "audio/wav"), b"WEBP": MediaType("image", "image/webp")}.get(head[8:12])
    if head[:4] == b"OggS":
        return MediaType("audio", "audio/ogg") if b"OpusHead" in head or b"\x01vorbis" in head else None
    if head[:4] == b"\x1aE\xdf\xa3":
        return MediaType("video", "video/webm") if b"webm" in head[:HEAD] else None
    return _iso(head[8:12]) if head[4:8] == b"ftyp" else None


def _iso(brand: bytes) -> MediaType | None:
    if brand in ISO_VIDEO:
        return MediaType("video", "video/mp4")
    if brand in ISO_AUDIO:
        return MediaType("audio", "audio/mp4")
    return MediaType("image", "image/avif") if brand in ISO_IMAGE else None
