"""Columns and constraints that several tables share."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models
from django.db.models.enums import ChoicesType


def public_id() -> models.UUIDField[uuid.UUID, uuid.UUID]:
    """The id that leaves the house: URLs, API, exports. Keys inside stay BigAutoField."""
    return models.UUIDField(default=uuid.uuid4, unique=True, editable=False)


def one_of(choices: ChoicesType, field: str, name: str) -> models.CheckConstraint:
    """CHECK that ``field`` holds one of ``choices``."""
    return models.CheckConstraint(condition=models.Q(**{f"{field}__in": choices.values}), name=name)


def set_exactly_in(states: list[str], timestamp: str, name: str, field: str = "state") -> models.CheckConstraint:
    """CHECK that ``timestamp`` is set in ``states`` and only there."""
    inside = models.Q(**{f"{field}__in": states, f"{timestamp}__isnull": False})
    outside = ~models.Q(**{f"{field}__in": states}) & models.Q(**{f"{timestamp}__isnull": True})
    return models.CheckConstraint(condition=inside | outside, name=name)


def choice_field(choices: ChoicesType, default: Any = models.NOT_PROVIDED) -> models.CharField[str, str]:
    return models.CharField(max_length=24, choices=choices, default=default)
