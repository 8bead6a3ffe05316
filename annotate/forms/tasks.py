"""The form of a task: a builder for the preference question, and JSON for questions of other kinds."""

from __future__ import annotations

import json
from typing import Any

from django import forms

from feedback import strict_json
from feedback.exceptions import FeedbackError
from feedback.models import Task
from feedback.services.budget import budget_of

from .fields import MoneyField, TextField

PREFERENCE = {
    "name": "overall",
    "title": "Which completion is better?",
    "steps": 5,
    "allow_both_bad": True,
    "allow_cannot_judge": False,
    "aspects": [],
    "ask_confidence": False,
    "reasons": [],
    "allow_other_reason": True,
}
PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "five-steps": ("Five steps", PREFERENCE),
    "three-steps": ("A, tie or B", PREFERENCE | {"steps": 3, "allow_other_reason": False}),
    "aspects": (
        "Helpful, truthful, harmless",
        PREFERENCE
        | {
            "title": "Which completion is better overall?",
            "aspects": ["helpful", "truthful", "harmless"],
            "ask_confidence": True,
            "reasons": ["More correct", "More complete", "Clearer", "Safer", "Better style"],
        },
    ),
}
STEPS = [(3, "3: A, tie, B"), (5, "5: slightly and clearly"), (7, "7"), (9, "9")]


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


class TaskForm(forms.Form):
    name = TextField(max_length=120)
    description = TextField(
        max_length=4000, required=False, widget=forms.Textarea(attrs={"rows": 2}), help_text="For your team only."
    )
    ask_preference = forms.BooleanField(required=False, initial=True, label="Ask which of two completions is better")
    title = TextField(max_length=300, required=False, label="Question")
    steps = forms.TypedChoiceField(choices=STEPS, coerce=int, initial=5)
    allow_both_bad = forms.BooleanField(required=False, label="Offer “Both are bad”")
    allow_cannot_judge = forms.BooleanField(required=False, label="Offer “Cannot judge”")
    aspects = TextField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="One per line, such as “helpful”. Each gets its own row of the same steps.",
    )
    ask_confidence = forms.BooleanField(required=False, label="Ask how sure the annotator is")
    reasons = TextField(
        required=False, widget=forms.Textarea(attrs={"rows": 3}), help_text="One per line; annotators tick them."
    )
    allow_other_reason = forms.BooleanField(required=False, label="Offer a field for an own reason")
    more_questions = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 5, "spellcheck": "false", "class": "mono"}),
        help_text="A JSON list of ranking, rating, span, critique or choice questions.",
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
    lease_minutes = forms.IntegerField(
        min_value=1, max_value=1440, initial=30, help_text="How long an instance stays with a person without a change."
    )
    human_price_micros = MoneyField(
        initial=500_000, label="Price of one annotation", help_text="What a person's annotation costs the budget."
    )
    budget_micros = MoneyField(initial=0, label="Budget", help_text="People and the judge together never pass it.")

    def clean_more_questions(self) -> list[Any]:
        text: str = self.cleaned_data["more_questions"]
        if not text.strip():
            return []
        try:
            questions = strict_json.parse(text)
        except strict_json.InvalidJSON as error:
            raise forms.ValidationError(f"This {error.reason}.") from error
        if not isinstance(questions, list):
            raise forms.ValidationError("This must be a list of questions: [ … ].")
        return questions

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if data.get("ask_preference") and not data.get("title"):
            self.add_error("title", "Write the question that annotators read.")
        if not data.get("ask_preference") and not data.get("more_questions") and not self.errors:
            self.add_error("ask_preference", "A task needs at least one question.")
        return data

    def questions(self) -> list[Any]:
        """The task's questions as entered; the service validates them."""
        data = self.cleaned_data
        if not data["ask_preference"]:
            return list(data["more_questions"])
        kept = {name: data[name] for name in ("title", "allow_both_bad", "allow_cannot_judge")}
        kept |= {name: data[name] for name in ("ask_confidence", "allow_other_reason")}
        preference = {
            "kind": "preference",
            "name": self.initial.get("preference_name", "overall"),
            "steps": data["steps"],
            "aspects": lines(data["aspects"]),
            "reasons": lines(data["reasons"]),
            **kept,
        }
        return [preference, *data["more_questions"]]

    def settings(self) -> dict[str, Any]:
        """The plain columns of the task."""
        names = ("description", "overlap", "plan_only", "lease_minutes", "human_price_micros")
        return {name: self.cleaned_data[name] for name in names}

    def show(self, error: FeedbackError) -> None:
        """Put a service's error beside its field."""
        for path, words in (error.errors or {"": error.message}).items():
            self.add_error(self._field_of(path), f"{path.removeprefix('questions.')}: {words}" if path else words)

    def _field_of(self, path: str) -> str | None:
        if path == "cap":
            return "budget_micros"
        if path.startswith("questions."):
            first = self.cleaned_data.get("ask_preference") and path.startswith("questions.0.")
            part = path.split(".")[3] if first and path.count(".") >= 3 else ""
            return part if part in self.fields else "title" if first else "more_questions"
        return path if path in self.fields else None


def preset_values(name: str) -> dict[str, Any]:
    """The form's first values under a preset."""
    return _builder(PRESETS.get(name, PRESETS["five-steps"])[1])


def values_of(task: Task) -> dict[str, Any]:
    """The form's values for an existing task."""
    preference = next((question for question in task.questions if question["kind"] == "preference"), None)
    others = [question for question in task.questions if question is not preference]
    plain = ("name", "description", "overlap", "plan_only", "lease_minutes", "human_price_micros")
    return {
        **(_builder(preference) if preference else {}),
        **{name: getattr(task, name) for name in plain},
        "ask_preference": preference is not None,
        "more_questions": json.dumps(others, indent=2, ensure_ascii=False) if others else "",
        "guideline": task.guideline.text if task.guideline else "",
        "budget_micros": budget_of(task).cap_micros,
    }


def _builder(question: dict[str, Any]) -> dict[str, Any]:
    values = {name: question[name] for name in PREFERENCE if name in question and name != "name"}
    joined = {name: "\n".join(question.get(name, [])) for name in ("aspects", "reasons")}
    return values | joined | {"preference_name": question.get("name", "overall")}
