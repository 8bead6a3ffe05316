"""Uploads above the limit are refused before they are read."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadhandler import FileUploadHandler

FORM_FIELDS = 2**20  # what a form may carry beside its file


class Capped(FileUploadHandler):
    """First of the handlers: looks at sizes, keeps nothing."""

    def handle_raw_input(self, input_data: Any, META: Any, content_length: int, *args: Any, **kwargs: Any) -> None:
        if content_length > settings.MAX_UPLOAD_MB * 2**20 + FORM_FIELDS:
            raise RequestDataTooBig(f"Files may have up to {settings.MAX_UPLOAD_MB} MB.")

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        return raw_data

    def file_complete(self, file_size: int) -> None:
        return None
