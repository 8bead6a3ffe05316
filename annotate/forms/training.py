"""The form that starts a run."""

from __future__ import annotations

from typing import Any, get_args

from django import forms

from feedback.exceptions import FeedbackError
from feedback.models import DatasetState, DatasetVersion, Project
from training.base_models import base_models
from training.objectives.catalogue import OBJECTIVES
from training.objectives.options import OPTION_NAMES, ObjectiveOptions
from training.sweeps import SWEPT

from .fields import TextField

NUMBERS = (
    *("epochs", "learning_rate", "max_length", "max_prompt_length", "tokens_per_batch", "gradient_accumulation"),
    "max_steps",
    *("warmup_steps", "weight_decay", "max_grad_norm", "seed", "checkpoint_every", "evaluate_every"),
    *("lora_rank", "lora_alpha"),
)
VARIED = 3
CHOICES = ("schedule", "long_rows", "precision", "device", "tuning", "order")


class RunForm(forms.Form):
    version = forms.ModelChoiceField(
        DatasetVersion.objects.none(), to_field_name="public_id", label="Dataset version", empty_label=None
    )
    objective = forms.ChoiceField(
        choices=[
            (words, [(one.name, one.title) for one in OBJECTIVES.values() if one.makes == makes])
            for makes, words in (("reward-model", "Reward models score completions"), ("policy", "Policies write them"))
        ],
        initial="bt",
    )
    base_model = forms.ChoiceField(
        help_text="Model folders of this installation and models that this project trained. The small demo model has a "
        "million parameters; it is made on its first use, which takes a few minutes."
    )
    epochs = forms.IntegerField(
        min_value=1, max_value=1000, initial=1, help_text="How often every pair is seen. More than three rarely helps."
    )
    learning_rate = forms.FloatField(
        min_value=1e-9,
        max_value=1,
        initial=5e-5,
        help_text="Around 0.00005 for models of a billion parameters and less for larger ones; 0.001 for the small "
        "demo model.",
    )
    max_length = forms.IntegerField(
        min_value=8, max_value=131_072, initial=512, help_text="Tokens of a prompt with one completion, at most."
    )
    max_prompt_length = forms.IntegerField(
        min_value=1,
        max_value=131_072,
        required=False,
        label="Longest prompt",
        help_text="Tokens of a prompt, at most. Left empty: what a completion leaves of the length above.",
    )
    held_out = forms.ModelChoiceField(
        DatasetVersion.objects.none(),
        to_field_name="public_id",
        required=False,
        label="Evaluate on",
        empty_label="The version's own test split",
        help_text="Another version's test split, so that runs on different data can be compared.",
    )
    long_rows = forms.ChoiceField(
        choices=[
            ("drop", "Leave them out and say so"),
            ("truncate-prompt-left", "Cut the start of the prompt"),
            ("error", "Stop the run"),
        ],
        label="Longer rows",
    )
    tuning = forms.ChoiceField(
        choices=[
            ("full", "All of them"),
            ("half", "Half of each layer (HFT)"),
            ("lora", "Adapters beside them (LoRA)"),
            ("dora", "Adapters for size and direction (DoRA)"),
            ("qlora", "Adapters over 4-bit weights (QLoRA, GPU)"),
        ],
        required=False,
        label="Weights that learn",
        help_text="Half of them forgets less. Adapters need less memory and a higher learning rate, around 0.0002.",
    )
    lora_rank = forms.IntegerField(
        min_value=1, max_value=4096, required=False, label="Rank of adapters", help_text="Left empty: 16."
    )
    lora_alpha = forms.FloatField(
        min_value=1e-6,
        max_value=10**6,
        required=False,
        label="Alpha of adapters",
        help_text="Adapters count alpha / rank. Left empty: 32.",
    )
    order = forms.ChoiceField(
        choices=[("shuffled", "Shuffled"), ("easy-first", "Plain preferences first (curriculum)")],
        required=False,
        help_text="Preferences of greater strength are plainer.",
    )
    tokens_per_batch = forms.IntegerField(
        min_value=8,
        max_value=10**7,
        initial=4096,
        help_text="How much is computed at once; lower it if memory is short.",
    )
    gradient_accumulation = forms.IntegerField(
        min_value=1, max_value=10_000, initial=1, help_text="Batches per update of the weights."
    )
    max_steps = forms.IntegerField(
        min_value=1, max_value=10**8, required=False, help_text="Stop after so many updates."
    )
    warmup_steps = forms.FloatField(
        min_value=0,
        max_value=10**8,
        initial=0,
        help_text="Updates in which the learning rate rises; below 1, a share of all.",
    )
    schedule = forms.ChoiceField(
        choices=[("cosine", "Cosine"), ("linear", "Linear"), ("constant", "Constant")],
        help_text="How the learning rate falls.",
    )
    weight_decay = forms.FloatField(min_value=0, max_value=10, initial=0)
    max_grad_norm = forms.FloatField(min_value=1e-6, max_value=10**6, initial=1.0, label="Largest gradient norm")
    seed = forms.IntegerField(
        min_value=0, max_value=2**31 - 1, initial=0, help_text="The same seed gives the same run."
    )
    evaluate_every = forms.IntegerField(
        min_value=1, max_value=10**8, required=False, help_text="Updates between looks at the held-out pairs."
    )
    checkpoint_every = forms.IntegerField(
        min_value=1, max_value=10**8, initial=50, help_text="Updates between saved states, from which a run resumes."
    )
    precision = forms.ChoiceField(choices=[("fp32", "32 bit"), ("bf16", "bfloat16 (GPU)")])
    device = forms.ChoiceField(choices=[("auto", "GPU if there is one"), ("cpu", "CPU"), ("cuda", "GPU")])

    def __init__(self, project: Project, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields |= {name: _option_field(name) for name in OPTION_NAMES}
        for number in range(VARIED):
            self.fields[f"vary_{number}"] = forms.ChoiceField(
                choices=[
                    ("", "–"),
                    *((name, self.fields[name].label or _words(name)) for name in (*SWEPT, *OPTION_NAMES)),
                ],
                required=False,
                label="Setting",
            )
            self.fields[f"values_{number}"] = TextField(
                max_length=200, required=False, label="Values", help_text="With spaces between, such as 0.001 0.0003."
            )
        versions = DatasetVersion.objects.filter(task__project=project, state=DatasetState.READY)
        for name in ("version", "held_out"):
            self.fields[name].queryset = versions.select_related("task").order_by("-pk")  # type: ignore[attr-defined]
        self.fields["base_model"].choices = [(base.key, base.name) for base in base_models(project)]  # type: ignore[attr-defined]

    @property
    def main(self) -> list[forms.BoundField]:
        return [self[name] for name in ("version", "objective", "base_model")]

    @property
    def learning(self) -> list[forms.BoundField]:
        return [self[name] for name in ("epochs", "learning_rate", "max_length", "long_rows")]

    @property
    def options(self) -> list[dict[str, Any]]:
        """The fields of the objectives' options, each with the names of the objectives that read it."""
        return [{"field": self[name], "read_by": " ".join(_readers(name))} for name in OPTION_NAMES]

    @property
    def with_options(self) -> str:
        """The names of the objectives that have options."""
        return " ".join(one.name for one in OBJECTIVES.values() if one.defaults)

    @property
    def summaries(self) -> list[dict[str, str]]:
        """What each objective does, and the paper it is from."""
        return [{"name": one.name, "text": one.summary, "source": one.source} for one in OBJECTIVES.values()]

    @property
    def varied(self) -> list[tuple[forms.BoundField, forms.BoundField]]:
        """The settings of a sweep, each with the field of its values."""
        return [(self[f"vary_{number}"], self[f"values_{number}"]) for number in range(VARIED)]

    @property
    def sweeping(self) -> bool:
        return any(field.value() or field.errors for pair in self.varied for field in pair)

    @property
    def check_first(self) -> bool:
        """Whether the run is to wait until its report was read; a button of its own asks for that."""
        return "check" in self.data

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        self._grid: dict[str, list[Any]] = {}
        for number in range(VARIED):
            name, text = cleaned.get(f"vary_{number}", ""), cleaned.get(f"values_{number}", "")
            if name in self._grid:
                self.add_error(f"vary_{number}", "This setting is varied already.")
            elif name and not text:
                self.add_error(f"values_{number}", "Say which values to try.")
            elif text and not name:
                self.add_error(f"vary_{number}", "Say which setting to vary.")
            elif name:
                self._grid[name] = self._values(name, text, f"values_{number}")
        if self._grid and self.check_first:
            self.add_error("vary_0", "Several runs start at once; check one by itself.")
        return cleaned

    def _values(self, name: str, text: str, at: str) -> list[Any]:
        """The values of a setting, each read as its own field reads it; what is wrong is said at the field ``at``."""
        values = []
        for word in text.replace(",", " ").split():
            try:
                values.append(self.fields[name].clean(word))
            except forms.ValidationError as error:
                self.add_error(at, [f"{word}: {message}" for message in error.messages])
        return values

    def grid(self) -> dict[str, list[Any]]:
        """What a sweep varies; empty for a single run."""
        return self._grid

    @property
    def advanced(self) -> list[forms.BoundField]:
        shown = {*OPTION_NAMES, *(field.name for field in (*self.main, *self.learning))}
        shown |= {field.name for pair in self.varied for field in pair}
        return [field for field in self if field.name not in shown]

    @property
    def advanced_wrong(self) -> bool:
        return any(field.errors for field in self.advanced)

    def config(self) -> dict[str, Any]:
        """The settings as the engine names them; what was left empty is left out."""
        data = self.cleaned_data
        chosen = {name: data[name] for name in (*NUMBERS, *CHOICES) if data.get(name) not in (None, "")}
        options = {name: data[name] for name in OBJECTIVES[data["objective"]].defaults if data[name] not in (None, "")}
        return chosen | {"objective_options": options}

    def refuse(self, error: FeedbackError) -> None:
        """Show an error of the service at the fields it is about."""
        for path, sentence in error.errors.items():
            name = path.removeprefix("config.").removeprefix("objective_options.").removeprefix("grid.")
            self.add_error(name if name in self.fields else None, sentence)
        if not error.errors:
            self.add_error(None, error.message)


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _readers(option: str) -> list[str]:
    return [one.name for one in OBJECTIVES.values() if option in one.defaults]


def _said(value: Any) -> str:
    return "nothing" if value == "" else f"{value:g}" if isinstance(value, float) else str(value)


def _option_field(name: str) -> forms.Field:
    """An option's field, from what the engine says of it; its range is the engine's to check."""
    info = ObjectiveOptions.model_fields[name]
    defaults: dict[Any, list[str]] = {}
    for reader in _readers(name):
        defaults.setdefault(OBJECTIVES[reader].defaults[name], []).append(OBJECTIVES[reader].short_title)
    usual = "; ".join(
        _said(value) if len(defaults) == 1 else f"{_said(value)} for {', '.join(readers)}"
        for value, readers in defaults.items()
    )
    words: dict[str, Any] = {
        "required": False,
        "label": info.title,
        "help_text": f"{info.description} Left empty: {usual}.",
    }
    if info.annotation is int:
        return forms.IntegerField(**words)
    if info.annotation is float:
        return forms.FloatField(**words)
    if info.annotation is str:
        return forms.CharField(**words)
    return forms.ChoiceField(
        choices=[("", "–"), *((one, one.capitalize()) for one in get_args(info.annotation))], **words
    )
