"""A service's refusal, told on the form that asked."""

from __future__ import annotations

from django import forms

from feedback.exceptions import FeedbackError


def refuse(form: forms.Form, error: FeedbackError) -> None:
    """Put each sentence on the field its path begins with, or above the form where there is none."""
    for path, sentence in (error.errors or {"": error.message}).items():
        name = path.split(".")[0]
        form.add_error(name if name in form.fields else None, sentence)
