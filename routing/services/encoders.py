"""How texts are embedded here: by a local sentence encoder where one is installed, else by hashing; and why."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from django.conf import settings

from feedback.model_folder import ENCODERS, UnsafeFolder, check_folder
from routing.features.embedding import FORMAT_DIMS
from routing.features.table import EMBEDDED, ENCODED_NAMES, PAIR_NAMES, Encoder, recipe

HASHED_ONLY = "none"
NONE_INSTALLED = "No sentence encoder is installed, so embeddings are hashed words and character n-grams."


@dataclass(frozen=True)
class Way:
    """A recipe with its columns and the width of its embeddings; ``why`` is the sentence that pages show."""

    recipe: str
    names: tuple[str, ...]
    width: int
    why: str
    folder: Path | None = None


class NoEncoder(Exception):
    """The encoder cannot be used by this process; the message says why."""


def hashed(why: str = NONE_INSTALLED) -> Way:
    """Embeddings without a model."""
    return Way(recipe(), PAIR_NAMES, EMBEDDED, why)


def way() -> Way:
    """How this installation embeds: by ``SENTENCE_ENCODER``, else by the first encoder among the model folders."""
    wanted = settings.SENTENCE_ENCODER
    if wanted == HASHED_ONLY:
        return hashed("The setting SENTENCE_ENCODER turns encoders off, so embeddings are hashed.")
    folders = encoder_folders()
    if wanted and wanted not in folders:
        return hashed(
            f"SENTENCE_ENCODER names {wanted!r}, which is no encoder among the models, so embeddings are hashed."
        )
    name = wanted or next(iter(folders), "")
    return _encoded(name, folders[name]) if name else hashed()


def encoder_folders() -> dict[str, Path]:
    """Folders under ``MODELS_DIR`` whose configuration names an architecture of encoders, by name."""
    root = Path(settings.MODELS_DIR)
    found = sorted(root.iterdir()) if root.is_dir() else []
    return {path.name: path for path in found if not path.name.startswith(".") and _model_type(path) in ENCODERS}


def _model_type(folder: Path) -> str:
    try:
        value = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return str(value.get("model_type", "")) if isinstance(value, dict) else ""
    except (OSError, ValueError, RecursionError):
        return ""


def _encoded(name: str, folder: Path) -> Way:
    try:
        raw = check_folder(folder, ENCODERS)
        width = int(raw.get("hidden_size") or raw["dim"])
    except UnsafeFolder as error:
        return hashed(f"{error} So embeddings are hashed.")
    except (KeyError, TypeError, ValueError):
        return hashed(f"The encoder {name} does not say how wide its embeddings are, so they are hashed.")
    key = recipe(encoder=f"{name[:40]}-{_weights(folder)}")
    return Way(
        key, (*PAIR_NAMES, *ENCODED_NAMES), width + FORMAT_DIMS, f"Embeddings are by the encoder {name}.", folder
    )


def _weights(folder: Path) -> str:
    """12 hexadecimal digits over what the folder computes with: configuration, tokenizer, pooling, weights."""
    named = [folder / "config.json", folder / "tokenizer.json", folder / "1_Pooling" / "config.json"]
    files = [path for path in (*named, *sorted(folder.glob("*.safetensors"))) if path.is_file()]
    stats = tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files)
    return _digest(stats)


@lru_cache(maxsize=8)
def _digest(files: tuple[tuple[str, int, int], ...]) -> str:
    """Read once for as long as sizes and times stay."""
    digest = hashlib.sha256()
    for name, size, _ in files:
        digest.update(f"{Path(name).name}:{size}:".encode())
        with Path(name).open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:12]


def encoder_of(one: Way) -> Encoder | None:
    """What embeds by this way; ``None`` for hashing. Raises NoEncoder where this worker cannot."""
    if one.folder is None:
        return None
    try:
        return _loaded(one.folder, one.recipe)
    except ImportError as error:
        raise NoEncoder(
            "This worker has no torch, which the installed encoder needs (extra `train`), so embeddings are hashed."
        ) from error
    except UnsafeFolder as error:
        raise NoEncoder(f"{error} So embeddings are hashed.") from error


@lru_cache(maxsize=1)
def _loaded(folder: Path, key: str) -> Encoder:
    """The encoder in a folder, kept for the next job for as long as its weights stay."""
    from routing.features.encoder import SentenceEncoder

    return SentenceEncoder(folder)
