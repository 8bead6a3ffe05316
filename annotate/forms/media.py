from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile

MAX_AT_ONCE = 100  # as many as Django reads of one form


class FilesInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class FilesField(forms.FileField):
    """One or more files."""

    widget = FilesInput

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile]:  # type: ignore[override]
        files: Sequence[Any] = data if isinstance(data, (list, tuple)) else [data]
        if len(files) > MAX_AT_ONCE:
            raise forms.ValidationError(f"Send at most {MAX_AT_ONCE} files at once.")
        return [super(FilesField, self).clean(file, initial) for file in files]


class MediaForm(forms.Form):
    sent = FilesField(
        label="Files",
        allow_empty_file=True,
        help_text="PNG, JPEG, GIF, WebP, AVIF; WAV, MP3, M4A, FLAC, Ogg; MP4, WebM. The bytes decide, not the names.",
    )
