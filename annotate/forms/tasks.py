"""The form of a task: its name, guideline, queue and money. What it asks is built on a page of its own."""

from __future__ import annotations

from typing import Any

from django import forms

from feedback import strict_json
from feedback.definitions import Definition
from feedback.exceptions import FeedbackError, InvalidInput
from feedback.models import Task
from feedback.services import definitions
from feedback.services.budget import budget_of

from .abilities import LanguagesField, SkillsField
from .fields import MoneyField, TextField

SETTINGS = ("description", "overlap", "plan_only", "languages", "skills", "lease_minutes", "human_price_micros")


class TaskForm(forms.Form):
    name = TextField(max_length=120)
    description = TextField(
        max_length=4000, required=False, widget=forms.Textarea(attrs={"rows": 2}), help_text="For your team only."
    )
    guideline = TextField(
        max_length=100_000,
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 8}),
        help_text="Markdown. Each change makes a new version; an annotation carries the version it was made under.",
    )
    overlap = forms.IntegerField(
        min_value=1, max_value=100, initial=1, help_text="How many people label each instance."
    )
    plan_only = forms.BooleanField(
        required=False, label="People label only what a routing plan sends them", initial=False
    )
    languages = LanguagesField(
        label="Languages everybody must read",
        help_text="Names or codes, with commas between them: German, en. Empty: only those an instance asks for.",
    )
    skills = SkillsField(
        label="Skills everybody must have",
        help_text="Such as law, internal medicine. Managers name members' skills under People.",
    )
    lease_minutes = forms.IntegerField(
        min_value=1, max_value=1440, initial=30, help_text="How long an instance stays with a person without a change."
    )
    human_price_micros = MoneyField(
        initial=500_000, label="Price of one annotation", help_text="What a person's annotation costs the budget."
    )
    budget_micros = MoneyField(initial=0, label="Budget", help_text="People and the judge together never pass it.")

    def settings(self) -> dict[str, Any]:
        """The plain columns of the task."""
        return {name: self.cleaned_data[name] for name in SETTINGS}

    def show(self, error: FeedbackError) -> None:
        """Put a service's error beside its field."""
        for path, words in (error.errors or {"": error.message}).items():
            name = "budget_micros" if path == "cap" else path
            self.add_error(name if name in self.fields else None, words)


def values_of(task: Task) -> dict[str, Any]:
    """The form's values for an existing task."""
    return {
        **{name: getattr(task, name) for name in ("name", *SETTINGS)},
        "guideline": task.guideline.text if task.guideline else "",
        "budget_micros": budget_of(task).cap_micros,
    }


def values_from(definition: Definition) -> dict[str, Any]:
    """The form's first values for a task made from a preset, which names and describes itself."""
    return {"guideline": definition.guideline, "overlap": definition.overlap, "lease_minutes": definition.lease_minutes}


class DefinitionForm(forms.Form):
    """A file that defines a task."""

    file = forms.FileField(help_text="A JSON file as it comes from “Export definition”.")
    name = TextField(max_length=120, required=False, help_text="Instead of the name in the file.")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if file := data.get("file"):
            try:
                raw = strict_json.parse(file.read(strict_json.MAX_BYTES + 1))
                named = {"name": data["name"]} if data.get("name") and isinstance(raw, dict) else {}
                data["definition"] = definitions.checked(raw | named if named else raw)
            except strict_json.InvalidJSON as error:
                self.add_error("file", error.said_of("This"))
            except InvalidInput as error:
                self.show(error)
        return data

    def show(self, error: FeedbackError) -> None:
        for path, words in (error.errors or {"": error.message}).items():
            self.add_error("file", f"{path}: {words}" if path else words)
