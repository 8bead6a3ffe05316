"""The bodies of the labelling protocol: what the reading room's script and REST clients send alike."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

MAX_INTEGER = 2**31 - 1
MAX_ACTIVE_MS = 10**12


class DraftBody(serializers.Serializer[Any]):
    """``version`` is the one last read: another one stored means that another tab wrote, and is a 409."""

    version = serializers.IntegerField(min_value=0, max_value=MAX_INTEGER)
    answers = serializers.DictField(child=serializers.JSONField(), allow_empty=True)
    active_ms = serializers.IntegerField(min_value=0, max_value=MAX_ACTIVE_MS, default=0)


class SubmissionBody(serializers.Serializer[Any]):
    """``submission_id`` is made by the client: sent again with the same answers it changes nothing.

    ``answers`` name completions by their stored index: ``a`` is index 0, ``b`` index 1, wherever they were shown.
    """

    submission_id = serializers.UUIDField()
    answers = serializers.DictField(child=serializers.JSONField(), allow_empty=True)
    active_ms = serializers.IntegerField(min_value=0, max_value=MAX_ACTIVE_MS, default=0)
    version = serializers.IntegerField(min_value=0, max_value=MAX_INTEGER, required=False)


class ReasonBody(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=40)
    comment = serializers.CharField(max_length=4000, required=False, allow_blank=True, default="")
