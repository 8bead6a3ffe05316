"""What a run can start from: model folders of this installation, models trained before, and the small demo model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from django.conf import settings

from feedback.exceptions import InvalidInput
from feedback.models import Project

from .engine.score_heads import score_heads
from .models import ModelKind, Run, TrainedModel
from .objectives.catalogue import Objective

SMALL = "small"
SMALL_FOLDER = "tiebreak-small"


@dataclass(frozen=True)
class BaseModel:
    """A base model: ``key`` is what forms and the API send (``small``, ``folder:NAME``, ``model:PUBLIC_ID``)."""

    key: str
    name: str
    folder: Path
    run: Run | None = None
    scores: bool = False
    """Whether it is a reward model, which writes no text."""

    def fits(self, objective: Objective) -> bool:
        return objective.makes == "reward-model" or not self.scores

    def heads(self) -> int:
        """How many scores it gives; 0 when it writes text."""
        return _heads(self.folder)


def base_models(project: Project) -> list[BaseModel]:
    """All base models of a project: folders first, then its own models, newest first."""
    return [*_folders(), *_trained(project)]


def find_base_model(project: Project, key: str, objective: Objective) -> BaseModel:
    """The base model of this key. Raises InvalidInput when there is none, or it cannot be trained this way."""
    found = _find(project, key)
    if found is None:
        raise InvalidInput(errors={"base_model": "There is no such base model."})
    if not found.fits(objective):
        text = "This model gives scores and writes no text; choose a language model for this objective."
        raise InvalidInput(errors={"base_model": text})
    return found


def find_folder(project: Project, key: str) -> Path | None:
    """Where the base model of this key lies; None when there is none."""
    found = _find(project, key)
    return found.folder if found else None


def _find(project: Project, key: str) -> BaseModel | None:
    # compared with what is listed: no part of a key ever becomes a path
    kind, _, name = key.partition(":")
    if kind == "model":
        return next(iter(_trained(project, name)), None)
    return next((base for base in _folders() if base.key == key), None)


def _folders() -> list[BaseModel]:
    root = Path(settings.MODELS_DIR)
    small = BaseModel(SMALL, "Small demo model", root / SMALL_FOLDER)
    found = sorted(path for path in root.iterdir() if _is_model(path)) if root.is_dir() else []
    others = [
        BaseModel(f"folder:{path.name}", path.name, path, scores=_heads(path) > 0)
        for path in found
        if path.name != SMALL_FOLDER
    ]
    return [*others, small]


def _is_model(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return not hidden and (path / "config.json").is_file() and any(path.glob("*.safetensors"))


def _heads(path: Path) -> int:
    try:
        return score_heads(json.loads((path / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError, TypeError):
        return 0  # the engine says what is wrong with it when it loads it


def _trained(project: Project, public_id: str | None = None) -> list[BaseModel]:
    models = TrainedModel.objects.filter(run__project=project).select_related("run").order_by("-pk")
    if public_id is not None:
        try:
            models = models.filter(public_id=UUID(public_id))
        except ValueError:
            return []
    return [
        BaseModel(f"model:{m.public_id}", m.name, m.folder, run=m.run, scores=m.kind == ModelKind.REWARD_MODEL)
        for m in models[:200]
    ]
