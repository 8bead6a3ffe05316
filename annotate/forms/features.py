"""The forms of a task's features: which columns count, and tagging by a judge's model."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import QueryDict

from feedback.models import Project
from routing.judge.tagging import DIMENSIONS
from routing.models import Judge
from routing.services.tagging import MOST_TAGGED
from routing.services.task_features import MOST_LEFT_OUT, MOST_SOURCE


class NamesField(forms.Field):
    """Names that a page listed; the service knows which there are."""

    widget = forms.MultipleHiddenInput

    def clean(self, value: Any) -> list[str]:
        names = list(dict.fromkeys(value or []))
        if len(names) > MOST_LEFT_OUT or any(len(name) > MOST_SOURCE for name in names):
            raise forms.ValidationError("There are too many columns, or one has too long a name.")
        return names


class ColumnsForm(forms.Form):
    """Which of the sources that were ``shown`` count."""

    shown = NamesField(required=False)
    counts = NamesField(required=False)

    def __init__(self, data: QueryDict | None = None) -> None:
        super().__init__(data)

    def left_out(self) -> list[str]:
        counts = set(self.cleaned_data["counts"])
        return [name for name in self.cleaned_data["shown"] if name not in counts]


class TaggingForm(forms.Form):
    """Whose model tags what."""

    judge = forms.ChoiceField(
        help_text="Its model, endpoint, prices and limits are used; its verdicts are not touched."
    )
    dimensions = forms.MultipleChoiceField(
        label="What to tag",
        choices=[(name, one.title) for name, one in DIMENSIONS.items()],
        widget=forms.CheckboxSelectMultiple,
        help_text="One short question for each prompt and each of these.",
    )
    count = forms.IntegerField(
        label="Instances, at random",
        min_value=1,
        max_value=MOST_TAGGED,
        required=False,
        help_text="Empty for all that are not tagged yet. A few hundred teach a local classifier the rest.",
    )

    def __init__(self, project: Project, data: QueryDict | None = None) -> None:
        super().__init__(data, initial={"dimensions": list(DIMENSIONS), "count": 500})
        rows = Judge.objects.current().filter(project=project).order_by("name")
        self.judges = {str(row.public_id): row for row in rows if not row.parsed.members}
        judge = self.fields["judge"]
        assert isinstance(judge, forms.ChoiceField)
        judge.choices = [(key, str(row)) for key, row in self.judges.items()]

    def wish(self) -> tuple[Judge, list[str], int | None]:
        """Judge, dimensions in their order, and how many instances."""
        data = self.cleaned_data
        names = [name for name in DIMENSIONS if name in data["dimensions"]]
        return self.judges[data["judge"]], names, data["count"]
