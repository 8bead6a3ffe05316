"""The forms that put a trained model to use."""

from __future__ import annotations

from typing import Any

from django import forms

from feedback.models import Project, Task
from training.base_models import base_models
from training.generations import DEFAULTS, LIMITS, MOST_PROMPTS
from training.models import ModelKind, TrainedModel
from training.scorings import asked_of

from .fields import TextField

NEW = ""
SETTINGS = ("prompts", "count", "best_of", "max_new_tokens", "temperature", "top_p", "seed")


def tasks_of(project: Project) -> dict[str, Task]:
    return {str(task.public_id): task for task in project.tasks.select_related("project").order_by("-pk")}


class GenerationForm(forms.Form):
    """Which prompts, how many completions, whom to compare with, and where they go."""

    prompts_of = forms.ChoiceField(label="Prompts of", help_text="Different prompts of this task, drawn by the seed.")
    prompts = forms.IntegerField(label="How many prompts", help_text=f"At most {MOST_PROMPTS:,}.")
    opponent = forms.ChoiceField(
        label="Compare with",
        required=False,
        help_text="Another model writes the second completion of each instance; labels then give a win rate.",
    )
    count = forms.IntegerField(
        label="Completions per prompt",
        required=False,
        help_text="Two ask which is better, more ask for a ranking. Beside another model each writes one.",
    )
    reward_model = forms.ChoiceField(
        label="Reward model", required=False, help_text="Scores what is written, and chooses the best of several."
    )
    best_of = forms.IntegerField(label="Best of", help_text="So many are drawn for each completion that is shown.")
    task = forms.ChoiceField(label="Into", required=False)
    task_name = TextField(label="Name of a new task", max_length=120, required=False)
    max_new_tokens = forms.IntegerField(label="Longest completion", help_text="In tokens.")
    temperature = forms.FloatField(help_text="0 always takes the likeliest token.")
    top_p = forms.FloatField(label="Top p", help_text="Draw from the likeliest tokens that have this probability.")
    seed = forms.IntegerField(help_text="The same seed writes the same completions.")

    def __init__(self, project: Project, model: TrainedModel, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tasks = tasks_of(project)
        rewards = TrainedModel.objects.filter(run__project=project, kind=ModelKind.REWARD_MODEL)
        self.rewards = {str(one.public_id): one for one in rewards.select_related("run").order_by("-pk")[:100]}
        named = [(key, task.name) for key, task in self.tasks.items()]
        own = f"model:{model.public_id}"
        others = [
            (base.key, f"{base.name}, one draw" if base.key == own else base.name)
            for base in base_models(project)
            if not base.scores
        ]
        self._choose("prompts_of", named)
        self._choose("task", [(NEW, "A new task"), *named])
        self._choose("opponent", [("", "Nobody"), *others])
        self._choose("reward_model", [("", "None"), *((key, one.name) for key, one in self.rewards.items())])
        for name in SETTINGS:
            field = self.fields[name]
            low, high, _ = LIMITS[name]
            field.min_value, field.max_value = low, high  # type: ignore[attr-defined]
            field.widget.attrs |= {"min": low, "max": high}
            field.initial = DEFAULTS[name]

    def _choose(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not cleaned.get("task") and not cleaned.get("task_name"):
            self.add_error("task_name", "Name the new task, or choose one.")
        return cleaned

    def wishes(self) -> dict[str, Any]:
        """The settings; beside another model each writes one completion."""
        data = self.cleaned_data
        chosen = {name: data[name] for name in SETTINGS if data.get(name) is not None}
        return chosen | ({"count": 1} if data["opponent"] else {})


class ScoringForm(forms.Form):
    task = forms.ChoiceField(
        help_text="Its completions are scored; the scores become a judge's preferences or rankings."
    )

    def __init__(self, project: Project, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        asked = {key: (task, asked_of(task)) for key, task in tasks_of(project).items()}
        self.tasks = {key: task for key, (task, question) in asked.items() if question and question.when is None}
        field = self.fields["task"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(key, task.name) for key, task in self.tasks.items()]
