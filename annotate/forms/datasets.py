from __future__ import annotations

import json
from hashlib import sha256
from typing import Any
from uuid import uuid4

from django import forms

from feedback.formats.shape_table import SHAPES, fitting_shapes, ordering_question
from feedback.models import Task
from feedback.refinements import asks_refinement
from feedback.services.datasets import PLAN

POSTERIOR = ("posterior", "Judge and people weighed, for a routing plan's mix (soft labels)")
SUGGESTED = ("preference", "preference-conversational", "ranked", "ratings", "spans", "critiques")


class FreezeForm(forms.Form):
    """What a dataset version holds. The rules are said in words beside each choice."""

    token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid4, required=False)
    shapes = forms.MultipleChoiceField(
        label="Shapes",
        help_text="Those that this task's questions produce.",
        widget=forms.CheckboxSelectMultiple,
    )
    formats = forms.MultipleChoiceField(
        label="File formats",
        choices=[("parquet", "Parquet"), ("jsonl", "JSONL")],
        initial=["parquet", "jsonl"],
        widget=forms.CheckboxSelectMultiple,
    )
    sources = forms.ChoiceField(
        label="Whose labels",
        choices=[
            ("any", "People where they annotated, otherwise the judge"),
            ("human", "People only"),
            ("judge", "The judge only"),
        ],
    )
    mix = forms.ChoiceField(label="Preference mix", required=False)
    aggregation = forms.ChoiceField(
        label="Several annotators",
        choices=[("majority", "Majority"), ("dawid-skene", "Dawid–Skene (learns each annotator's error rates)")],
    )
    adjudicated = forms.BooleanField(
        label="Adjudicated answers decide",
        required=False,
        initial=True,
        help_text="Where a reviewer decided, the decision alone counts; the raw shape keeps the votes and marks it.",
    )
    min_annotations = forms.IntegerField(label="Votes per pair, at least", min_value=1, max_value=100, initial=1)
    ties = forms.ChoiceField(
        label="Ties",
        choices=[("drop", "Leave out"), ("keep-half", "Keep with soft label 0.5")],
        help_text="A split vote is a tie. Ties are never decided by chance.",
    )
    pairs = forms.ChoiceField(
        label="Pairs of a ranking",
        choices=[
            ("all", "Every two completions that it ranks"),
            ("adjacent", "Those of the same or the next rank"),
            ("best-worst", "The first rank against the last"),
        ],
        required=False,
    )
    refinements = forms.ChoiceField(
        label="Refinements",
        choices=[("leave-out", "Leave out"), ("chosen", "Chosen over the completion they refine")],
        required=False,
    )
    train = forms.FloatField(label="Train share", min_value=0, max_value=1, initial=0.9)
    validation = forms.FloatField(label="Validation share", min_value=0, max_value=1, initial=0.05)
    seed = forms.IntegerField(
        min_value=0,
        max_value=2**31 - 1,
        initial=0,
        help_text="Test gets what is left. A prompt is never in two splits.",
    )

    def __init__(self, task: Task, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fitting = fitting_shapes(task.parsed_questions)
        shapes = self.fields["shapes"]
        assert isinstance(shapes, forms.MultipleChoiceField)
        shapes.choices = [(name, SHAPES[name].label) for name in fitting]
        shapes.initial = [name for name in fitting if name in SUGGESTED] or fitting[:1]
        kept = list(task.mixes.order_by("-pk")[:200])
        mixes = [(str(mix.public_id), mix.name) for mix in kept]
        if any(mix.origin.startswith(PLAN) for mix in kept):
            several = self.fields["aggregation"]
            assert isinstance(several, forms.ChoiceField)
            several.choices = [*FreezeForm.base_fields["aggregation"].choices, POSTERIOR]  # type: ignore[attr-defined]
        sources, mix = self.fields["sources"], self.fields["mix"]
        assert isinstance(sources, forms.ChoiceField)
        assert isinstance(mix, forms.ChoiceField)
        mix.choices = [("", "None"), *mixes]
        if mixes:
            sources.choices = [*FreezeForm.base_fields["sources"].choices, ("mix", "As a preference mix says")]  # type: ignore[attr-defined]
        else:
            del self.fields["mix"]
        if not any(question.kind == "ranking" for question in task.parsed_questions):
            del self.fields["pairs"]
        if not asks_refinement(task.parsed_questions):
            del self.fields["refinements"]
        elif ordering_question(task.parsed_questions) is None:
            self.fields["refinements"].initial = "chosen"  # nothing else makes a pair

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("train", 0) + cleaned.get("validation", 0) > 1 + 1e-9:
            self.add_error("validation", "Train and validation together are more than 1.")
        return cleaned

    def idempotency_key(self) -> str:
        """One per page shown and choice made: a double click asks once, a changed choice asks anew. Programs that send
        no token ask anew each time."""
        if not self.cleaned_data["token"]:
            return ""
        choice = json.dumps(self.spec(), sort_keys=True)
        return f"page-{sha256((str(self.cleaned_data['token']) + choice).encode()).hexdigest()}"

    def spec(self) -> dict[str, Any]:
        """The choices as :class:`feedback.services.freezing.FreezeSpec` reads them."""
        data = self.cleaned_data
        test = max(0.0, round(1 - data["train"] - data["validation"], 9))
        splits = (round(1 - data["validation"] - test, 9), data["validation"], test)
        names = ("shapes", "formats", "sources", "aggregation", "adjudicated", "min_annotations", "ties", "seed")
        mix = {"mix": data["mix"]} if data.get("mix") and data["sources"] == "mix" else {}
        optional = {name: data[name] for name in ("pairs", "refinements") if data.get(name)}
        return {**{name: data[name] for name in names}, "splits": splits, **mix, **optional}
