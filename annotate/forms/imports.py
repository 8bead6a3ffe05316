from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.conf import settings

from feedback.formats.mapping import ColumnMapping
from feedback.models import Project
from feedback.services import uploads

from .fields import TextField


class ImportForm(forms.Form):
    """Where the instances come from, and which task they go to."""

    file = forms.FileField(required=False, help_text="JSONL, JSON, CSV or TSV (also gzipped), or Parquet.")
    server_path = forms.ChoiceField(
        label="Or a folder on the server", required=False, help_text="Files and known public sets that were put there."
    )
    task = forms.ChoiceField(
        required=False, help_text="A new task asks what the file's recorded annotations answer; you can change it."
    )
    task_name = TextField(
        label="Name of a new task", max_length=120, required=False, help_text="Empty: as the set or the file is called."
    )

    def __init__(self, project: Project, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tasks = {str(task.public_id): task for task in project.tasks.order_by("-created_at")}
        task = self.fields["task"]
        assert isinstance(task, forms.ChoiceField)
        task.choices = [*((key, row.name) for key, row in self.tasks.items()), ("", "A new task")]
        names = uploads.server_sources()
        server_path = self.fields["server_path"]
        assert isinstance(server_path, forms.ChoiceField)
        server_path.choices = [("", "None"), *((name, name) for name in names)]
        if not names:
            del self.fields["server_path"]
            self.fields["file"].required = True
            self.fields["file"].error_messages["required"] = "Choose a file."
        self.fields["file"].help_text += f" At most {settings.MAX_UPLOAD_MB} MB."

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if bool(cleaned.get("file")) == bool(cleaned.get("server_path")) and "file" not in self.errors:
            self.add_error("file", "Choose either a file or a folder on the server.")
        return cleaned


class MappingForm(forms.Form):
    """Which column is what. Its choices are the columns of the file."""

    ONE = ("prompt", "chosen", "rejected", "external_id", "preference", "annotator", "system")
    SEVERAL = ("completions", "models", "meta")

    def __init__(
        self,
        columns: Sequence[str],
        mapping: ColumnMapping | None,
        data: Any = None,
        *,
        annotations: bool = True,
    ) -> None:
        super().__init__(data, initial={**(mapping.model_dump() if mapping else {}), "annotations": annotations})
        choices = [(column, column) for column in columns]
        labels = {
            "prompt": ("Prompt", "Text, or a list of chat messages."),
            "completions": ("Completions", "One list column, or one column per completion."),
            "chosen": ("Chosen", "For files of chosen and rejected completions, instead of the completions above."),
            "rejected": ("Rejected", ""),
            "external_id": ("Id", "Unique in the task. Without it, file name and line."),
            "preference": ("Recorded preference", "A vote on two completions: a, b, tie, or a step's name."),
            "annotator": ("Its annotator", "Who gave the recorded preference."),
            "models": ("Models", "Who wrote the completions: one column each, or one list column."),
            "system": ("System prompt", ""),
            "meta": ("Kept besides", "Shown with the instance and used by routing."),
        }
        for name, (label, words) in labels.items():
            kind = forms.MultipleChoiceField if name in self.SEVERAL else forms.ChoiceField
            options = choices if name in self.SEVERAL else [("", "–"), *choices]
            widget = forms.CheckboxSelectMultiple() if name in self.SEVERAL else forms.Select()
            self.fields[name] = kind(label=label, help_text=words, choices=options, required=False, widget=widget)
        self.fields["annotations"] = forms.BooleanField(
            label="Bring recorded annotations along", required=False, help_text="Votes and verdicts of the file."
        )

    def columns(self) -> dict[str, Any]:
        """The mapping as :class:`ColumnMapping` reads it; empty choices are left out."""
        return {name: self.cleaned_data[name] for name in (*self.ONE, *self.SEVERAL) if self.cleaned_data[name]}


class KnownSetForm(forms.Form):
    """What can be chosen for a set whose columns are known."""

    annotations = forms.BooleanField(label="Bring recorded annotations along", required=False, initial=True)
