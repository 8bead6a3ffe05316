"""The form that starts an evaluation."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings

from feedback.models import DatasetState, DatasetVersion, Project
from training.evaluations import splits_of

MOST_VERSIONS = 100


class EvaluationForm(forms.Form):
    """Rows of a version or of a file, and how long ones are read."""

    rows_of = forms.ChoiceField(label="Rows of", required=False)
    file = forms.FileField(
        required=False,
        label="Or a file",
        help_text="JSONL or Parquet with the columns prompt, chosen and rejected, such as RewardBench; the columns "
        "subset, language and tags give figures by slice.",
    )
    max_length = forms.IntegerField(
        min_value=8, max_value=131_072, help_text="Tokens of a prompt with one completion, at most."
    )
    long_rows = forms.ChoiceField(
        choices=[
            ("truncate-prompt-left", "Cut the start of the prompt"),
            ("drop", "Leave them out and say so"),
            ("error", "Stop the evaluation"),
        ],
        label="Longer rows",
    )

    def __init__(self, project: Project, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        versions = DatasetVersion.objects.filter(task__project=project, state=DatasetState.READY)
        self.versions = {
            str(version.public_id): version
            for version in versions.select_related("task__project").order_by("-pk")[:MOST_VERSIONS]
        }
        choices: list[Any] = [("", "A file")]
        for key, version in self.versions.items():
            words = f"{version.task.name} · version {version.number}"
            choices.append((words, [(f"{key}:{split}", f"{words}: {split}") for split in reversed(splits_of(version))]))
        self.fields["rows_of"].choices = choices  # type: ignore[attr-defined]
        self.fields["file"].help_text += f" At most {settings.MAX_UPLOAD_MB} MB."

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if bool(cleaned.get("file")) == bool(cleaned.get("rows_of")) and not {"file", "rows_of"} & set(self.errors):
            self.add_error("file", "Choose either rows of a version or a file.")
        return cleaned

    @property
    def version(self) -> tuple[DatasetVersion, str] | None:
        """The version and its split, where one was chosen."""
        key, _, split = self.cleaned_data["rows_of"].partition(":")
        return (self.versions[str(UUID(key))], split) if key else None

    def config(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in ("max_length", "long_rows")}
