"""Serializer fields that several nouns share."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from feedback.abilities import MAX_LANGUAGES, MAX_SKILL, MAX_SKILLS, MAX_TAG
from feedback.text import InvalidText, check_text

MAX_MICROS = 10**15


class TextField(serializers.CharField):
    """Text that every database and file of ours can hold. (The parser checks bodies; this also checks queries.)"""

    def to_internal_value(self, data: Any) -> str:
        text: str = super().to_internal_value(data)
        try:
            return check_text(text)
        except InvalidText as error:
            raise serializers.ValidationError(f"The text {error.reason}.") from error


def public_id(source: str = "public_id") -> serializers.UUIDField:
    """The ``id`` of a row, or of a row it points to (``task.public_id``)."""
    return serializers.UUIDField(source=source, read_only=True)


def micros(**options: Any) -> serializers.IntegerField:
    """Money in millionths of the project's currency."""
    return serializers.IntegerField(min_value=0, max_value=MAX_MICROS, **options)


def language_list() -> serializers.ListField:
    """BCP 47 tags; ``de`` covers ``de-at``."""
    return serializers.ListField(child=TextField(max_length=MAX_TAG), max_length=MAX_LANGUAGES, required=False)


def skill_list() -> serializers.ListField:
    return serializers.ListField(child=TextField(max_length=MAX_SKILL), max_length=MAX_SKILLS, required=False)


class Empty(serializers.Serializer[Any]):
    """No body."""
