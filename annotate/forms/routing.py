"""The forms of routing: a pilot, and a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from django import forms
from django.utils.html import format_html

from feedback.models import Annotator, AnnotatorKind, Project
from feedback.services.people import skills_of
from routing.models import Judge
from routing.services import arms, pilots, planning
from routing.services.constraints import FLOORS
from routing.services.requests import LABELS
from routing.services.rounds import LIMITS, ROUNDS

from .fields import MoneyField, TextField

MOST_SEED = 2**31 - 1
ARM_ROWS = 2
STRATEGY_NAMES = {
    ROUNDS: "In rounds",
    "all_human": "All people",
    "disagreement": "Judge disagreement",
    "adv_topk": "Highest advantage",
    "adv_per_cost": "Highest advantage for its price",
    "ppm_guided": "Best predicted mix",
    "hyper_topk": "Highest tag gain",
    "hyper_simulated": "Best of random mixes",
    "hyper_optimal": "Best of random mixes of any size",
    "pilot": "Pilot",
}
USUAL = {ROUNDS, "random", "all_judge", "all_human", "disagreement", "adv_topk", "ppm_guided"}
MAIN = ("budget", "judge", "labels")
FOLDS = {
    "How rounds go": ("explore", "least_points", "most_labels"),
    "Rules that hold first": ("floors", "most_people", "guarantee", "escalate"),
    "Advanced settings": ("kind", "seed"),
}


def judge_annotators(project: Project) -> dict[str, Annotator]:
    """Whose verdicts a plan can route with: configured judges in use, and those recorded in imported sets."""
    rows = Annotator.objects.filter(project=project).exclude(kind=AnnotatorKind.HUMAN)
    usable = rows.filter(judge=None) | rows.filter(judge__retired_at=None)
    return {str(row.public_id): row for row in usable.distinct().order_by("-pk")}


def strategy_words(name: str) -> str:
    """A strategy's name as people read it."""
    return STRATEGY_NAMES.get(name, name.replace("_", " ").capitalize())


def whole(setting: str, **kwargs: Any) -> forms.IntegerField:
    """A setting of a plan within its limits."""
    return bounded(planning.LIMITS[setting], **kwargs)


def bounded(limits: tuple[int, int], **kwargs: Any) -> forms.IntegerField:
    return forms.IntegerField(min_value=limits[0], max_value=limits[1], **kwargs)


class PlanForm(forms.Form):
    """A strategy, money, and whose verdicts count."""

    strategy = forms.ChoiceField(widget=forms.RadioSelect, initial=ROUNDS)
    budget = MoneyField(help_text="What may be spent on new labels, people and judge together.")
    judge = forms.ChoiceField(help_text="Its verdicts are what people's labels are weighed against.")
    labels = whole("labels", label="People for each instance", initial=1)
    explore = whole(
        "explore",
        label="Drawn at random in a round, in percent",
        initial=5,
        required=False,
        help_text="A share that shows what the router would not look at.",
    )
    least_points = whole(
        "least_points",
        label="A label must add, in points",
        initial=2,
        required=False,
        help_text="Rounds stop where no label is expected to make this many of 100 labels right.",
    )
    most_labels = whole(
        "most_labels",
        label="People for an instance in doubt, at most",
        initial=2,
        required=False,
        help_text="Where one person and all else disagree, another one decides.",
    )
    floors = forms.MultipleChoiceField(
        label="People label all that is",
        choices=list(FLOORS.items()),
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text="Before anything else, whatever the strategy wishes.",
    )
    most_people = whole("most_people", label="Instances for people, at most", required=False)
    escalate = forms.BooleanField(
        label="A person where the judge is unsure",
        required=False,
        help_text="Where it contradicts itself or its panel is split, while the plan's money lasts. Not for rounds.",
    )
    guarantee = forms.BooleanField(
        label="Never below random",
        required=False,
        help_text="Draws at random where the prediction is not surely better. Not for rounds.",
    )
    kind = forms.ChoiceField(
        label="Prediction",
        choices=[
            ("gp", "Gaussian process (default)"),
            ("ridge", "Ridge"),
            ("linear_ols", "Linear, as published"),
            ("quadratic_ols", "Quadratic, as published"),
        ],
    )
    seed = forms.IntegerField(min_value=0, max_value=MOST_SEED, initial=0)

    def __init__(self, project: Project, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.judges = judge_annotators(project)
        strategy, judge = self.fields["strategy"], self.fields["judge"]
        assert isinstance(strategy, forms.ChoiceField)
        assert isinstance(judge, forms.ChoiceField)
        strategy.choices = [
            (row.name, format_html("<strong>{}:</strong> {}", strategy_words(row.name), row.summary))
            for row in planning.offered()
        ]
        judge.choices = [(key, row.name) for key, row in self.judges.items()]

    def strategies(self) -> tuple[list[forms.boundfield.BoundWidget], list[forms.boundfield.BoundWidget]]:
        """The choices of strategy that most plans are made with, and the others."""
        each = list(self["strategy"])
        usual = [one for one in each if one.data["value"] in USUAL]
        return usual, [one for one in each if one not in usual]

    def other_chosen(self) -> bool:
        """Whether the strategy is one that most plans are not made with."""
        return self["strategy"].value() not in USUAL

    def main(self) -> list[forms.BoundField]:
        """What every plan needs besides."""
        return [self[name] for name in MAIN]

    def folds(self) -> list[tuple[str, list[forms.BoundField], bool]]:
        """What most plans leave as it is: words, fields, and whether something in there is wrong."""
        parts = ((words, [self[name] for name in names]) for words, names in FOLDS.items())
        return [(words, fields, any(field.errors for field in fields)) for words, fields in parts]

    def wish(self) -> dict[str, Any]:
        """What :func:`routing.services.planning.make_plan` is given."""
        data = self.cleaned_data
        given = {name: data[name] for name in LIMITS if data.get(name) is not None}
        rules = {name: data[name] for name in ("floors", "most_people", "guarantee", "escalate") if data.get(name)}
        return {
            "strategy": data["strategy"],
            "budget_micros": data["budget"],
            "judge": self.judges[data["judge"]],
            "seed": data["seed"],
            "params": {"labels": data["labels"], "kind": data["kind"]}
            | rules
            | (given if data["strategy"] == ROUNDS else {}),
        }


class ArmForm(forms.Form):
    """One more arm: people of a skill, or of the crowd on other terms."""

    name = TextField(max_length=arms.MOST_NAME)
    kind = forms.ChoiceField(choices=[("expert", "Experts"), ("crowd", "Crowd")], initial="expert")
    skill = forms.ChoiceField(required=False)
    price = MoneyField(label="Price of a label")
    labels = bounded(arms.LIMITS["labels"], label="People for each instance", initial=1)
    capacity = bounded(arms.LIMITS["capacity"], label="Instances, at most", required=False)
    accuracy = bounded(arms.LIMITS["accuracy"], label="Right, in percent, as far as you know", required=False)

    def __init__(self, *args: Any, skills: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        skill = self.fields["skill"]
        assert isinstance(skill, forms.ChoiceField)
        skill.choices = [("", "None"), *((one, one) for one in skills)]

    def wish(self) -> dict[str, Any]:
        data = self.cleaned_data
        given = {name: data[name] for name in ("name", "kind", "skill", "labels", "capacity", "accuracy")}
        return {name: value for name, value in given.items() if value not in (None, "")} | {
            "price_micros": data["price"]
        }


class ArmForms(forms.BaseFormSet):  # type: ignore[type-arg]  # it takes none when it runs
    """The arms of a plan; rows that were left as they were are none."""

    def wish(self) -> list[dict[str, Any]]:
        return [form.wish() for form in self.forms if form.has_changed()]

    def wrong(self) -> bool:
        return self.is_bound and not self.is_valid()


def arm_forms(project: Project, data: Any = None) -> ArmForms:
    made = forms.formset_factory(
        ArmForm,
        formset=ArmForms,
        extra=ARM_ROWS,
        max_num=arms.MOST_ARMS,
        validate_max=True,
        absolute_max=arms.MOST_ARMS,
    )
    return cast("ArmForms", made(data, prefix="arms", form_kwargs={"skills": skills_of(project)}))


class PilotForm(forms.Form):
    """How many instances people and the judge both label."""

    count = forms.IntegerField(label="Instances", min_value=1, max_value=pilots.MOST)
    labels = forms.IntegerField(label="People for each", min_value=LABELS[0], max_value=LABELS[1], initial=1)
    judge = forms.ChoiceField(label="And judged by", required=False)

    def __init__(self, project: Project, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.judges = {str(row.public_id): row for row in Judge.objects.current().filter(project=project)}
        judge = self.fields["judge"]
        assert isinstance(judge, forms.ChoiceField)
        judge.choices = [*((key, str(row)) for key, row in self.judges.items()), ("", "Nobody now")]

    def chosen_judge(self) -> Judge | None:
        return self.judges.get(self.cleaned_data["judge"])
