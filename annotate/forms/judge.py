"""The forms of a judge: how it is configured, and what it is asked to judge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django import forms

from routing.judge.config import (
    ALONE_SHAPES,
    DEFAULT_PRINCIPLES,
    DEFAULT_RUBRIC,
    NEGATIVE_FOLLOWUPS,
    PAIR_SHAPES,
    POSITIVE_FOLLOWUPS,
    JudgeConfig,
)
from routing.models import KEY_PREFIX, Judge

from .fields import TextField

BACKENDS = [
    ("simulated", "Simulated pool: thirteen invented annotators, free, for trying things out"),
    ("openai", "An OpenAI-compatible endpoint (vLLM, llama.cpp, hosted)"),
    ("transformers", "A model of this installation, run by the worker"),
    ("panel", "A panel: several of this project's judges together"),
]
SHAPES = [
    ("pairwise", "Which one is better"),
    ("self-reference", "Which one is better, after an answer of its own"),
    ("reference", "Which one is closer to a reference answer"),
    ("principles", "Which one is better under written principles"),
    ("rating", "Rate each on the task's scales, else from 1 to 10"),
    ("aspect-rating", "Rate aspects from 1 to 5, with a reason each"),
    ("ranking", "Rank all of them"),
    ("critique", "Write critiques, and mark what is wrong"),
    ("choice", "Answer the task's choices"),
    ("follow-up", "Likelihood of what people would say next (local models)"),
]
ASKED = frozenset({"simulated", "openai", "transformers"})
WRITING = frozenset({"openai", "transformers"})
EVERY = frozenset(name for name, _ in SHAPES)
PROMPTED = EVERY - {"follow-up"}


@dataclass(frozen=True)
class Where:
    """Of which backends and shapes a field is part."""

    backends: frozenset[str] = ASKED
    shapes: frozenset[str] = EVERY

    def fits(self, backend: str, shape: str) -> bool:
        return backend in self.backends and (shape in self.shapes or backend == "panel")


class LinesField(TextField):
    """Several short texts, one on each line."""

    widget = forms.Textarea

    def __init__(self, *, rows: int = 4, **kwargs: Any) -> None:
        super().__init__(required=False, widget=forms.Textarea(attrs={"rows": rows}), max_length=12_000, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return value if value is None or isinstance(value, str) else "\n".join(value)

    def clean(self, value: Any) -> Any:
        return [line.strip() for line in super().clean(value).splitlines() if line.strip()]


def _number(label: str, low: float, high: float, initial: float, **kwargs: Any) -> Any:
    kind: Any = forms.IntegerField if isinstance(initial, int) else forms.FloatField
    return kind(label=label, min_value=low, max_value=high, initial=initial, required=False, **kwargs)


def _price(label: str) -> Any:
    return forms.DecimalField(
        label=label, min_value=Decimal(0), max_digits=14, decimal_places=6, initial=0, required=False
    )


class JudgeForm(forms.Form):
    """How a judge is asked. What its backend and shape have no use for keeps its default, whatever was entered."""

    name = TextField(max_length=120)
    backend = forms.ChoiceField(label="Where verdicts come from", choices=BACKENDS)
    model = TextField(max_length=200, required=False)
    base_url = TextField(
        label="Endpoint",
        max_length=500,
        required=False,
        help_text="Such as https://example.org/v1. Internal addresses have to be allowed by whoever runs this server.",
    )
    api_key_env = forms.CharField(
        label="Variable that holds the key",
        max_length=80,
        required=False,
        help_text=f"The key itself is never stored. Set it as {KEY_PREFIX}… in the worker's environment; name it here.",
    )
    members = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Each judges by itself; where they disagree a person is asked.",
    )
    shape = forms.ChoiceField(label="Asked as", choices=SHAPES, initial="pairwise", required=False)
    rubric = TextField(
        max_length=8000, initial=DEFAULT_RUBRIC, required=False, widget=forms.Textarea(attrs={"rows": 4})
    )
    principles = LinesField(initial=DEFAULT_PRINCIPLES, rows=6, help_text="One on each line.")
    principles_drawn = _number("Principles drawn for each instance", 1, 20, 3)
    aspects = LinesField(
        rows=4,
        help_text="One on each line. Rated aspects named like a scale of the task use that scale; with none named, the "
        "scales of the task, else instruction following, honesty, truthfulness and helpfulness.",
    )
    reference_field = TextField(
        label="Metadata that holds the reference",
        max_length=80,
        initial="reference",
        required=False,
        help_text="Instances without it are passed over.",
    )
    alone = forms.BooleanField(label="Show each completion alone, in a call of its own", required=False)
    positive_followups = LinesField(label="What a content person would say", initial=POSITIVE_FOLLOWUPS)
    negative_followups = LinesField(label="What a disappointed person would say", initial=NEGATIVE_FOLLOWUPS)
    allow_ties = forms.BooleanField(label="It may say tie", required=False, initial=True)
    examples = _number(
        "Reviewers' decisions to show",
        0,
        8,
        0,
        help_text="Decisions on the most similar other prompts, as examples.",
    )
    swap = forms.ChoiceField(
        label="Side order",
        choices=[
            ("both", "Ask in both orders; conflicts show"),
            ("random", "One order, drawn for each instance"),
            ("none", "Always as stored"),
        ],
        required=False,
        help_text="Both orders cost twice and take the pull of the first place out.",
    )
    samples = _number("Samples", 1, 16, 1, help_text="More than one need a temperature above 0.")
    least_agreement = _number(
        "Least agreement", 0.0, 1.0, 0.6, help_text="Where a smaller share of samples or members agree, ask a person."
    )
    price_in = _price("Price of a million tokens in")
    price_out = _price("Price of a million tokens out")
    budget_cap = forms.DecimalField(
        label="Its own cap", min_value=Decimal(0), max_digits=14, decimal_places=6, required=False
    )
    persona = TextField(max_length=2000, required=False, widget=forms.Textarea(attrs={"rows": 2}))
    temperature = _number("Temperature", 0.0, 2.0, 0.0)
    max_tokens = _number("Longest reply in tokens", 16, 16384, 512)
    top_logprobs = _number(
        "Log-probabilities to ask for", 0, 20, 0, help_text="They give the strength, and say how much it attended."
    )
    seed = _number("Seed", 0, 2**31 - 1, 0)

    GROUPS = (
        ("", ("name", "backend", "model", "base_url", "api_key_env", "members")),
        (
            "What it is asked",
            ("shape", "rubric", "principles", "principles_drawn", "aspects", "reference_field", "alone",
             "positive_followups", "negative_followups", "allow_ties", "examples"),
        ),
        ("How often", ("swap", "samples", "least_agreement")),
        ("What it costs", ("price_in", "price_out", "budget_cap")),
    )  # fmt: skip
    ADVANCED = ("persona", "temperature", "max_tokens", "top_logprobs", "seed")
    WHERE: dict[str, Where] = {
        "model": Where(WRITING),
        "base_url": Where(frozenset({"openai"})),
        "api_key_env": Where(frozenset({"openai"})),
        "members": Where(frozenset({"panel"})),
        "shape": Where(),
        "rubric": Where(shapes=PROMPTED),
        "principles": Where(shapes=frozenset({"principles"})),
        "principles_drawn": Where(shapes=frozenset({"principles"})),
        "aspects": Where(shapes=PAIR_SHAPES | {"rating", "aspect-rating", "ranking"}),
        "reference_field": Where(shapes=frozenset({"reference"})),
        "alone": Where(shapes=ALONE_SHAPES),
        "positive_followups": Where(shapes=frozenset({"follow-up"})),
        "negative_followups": Where(shapes=frozenset({"follow-up"})),
        "allow_ties": Where(shapes=PAIR_SHAPES | {"ranking"}),
        "examples": Where(shapes=PAIR_SHAPES),
        "swap": Where(shapes=PROMPTED - {"critique"}),
        "samples": Where(shapes=PROMPTED),
        "least_agreement": Where(ASKED | {"panel"}, PROMPTED),
        "price_in": Where(),
        "price_out": Where(),
        "budget_cap": Where(),
        "persona": Where(WRITING, PROMPTED),
        "temperature": Where(WRITING, PROMPTED),
        "max_tokens": Where(shapes=PROMPTED),
        "top_logprobs": Where(WRITING, PAIR_SHAPES),
        "seed": Where(),
    }

    def __init__(self, *args: Any, judges: Iterable[Judge] = (), models: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        members: Any = self.fields["members"]
        members.choices = [(str(one.public_id), str(one)) for one in judges if one.backend != "panel"]
        known = f" Of this installation: {', '.join(models)}." if models else ""
        self.fields["model"].help_text = f"The name the endpoint knows it by, or of a local folder.{known}"

    def groups(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """(heading, fields) of each group, each field with the backends and shapes that it is shown for."""
        return [(words, [self._placed(name) for name in names if name in self.fields]) for words, names in self.GROUPS]

    def advanced(self) -> list[dict[str, Any]]:
        return [self._placed(name) for name in self.ADVANCED]

    def _placed(self, name: str) -> dict[str, Any]:
        where = self.WHERE.get(name, Where(ASKED | {"panel"}))
        backends, shapes = (" ".join(sorted(names)) for names in (where.backends, where.shapes))
        return {"field": self[name], "backends": backends, "shapes": "" if where.shapes == EVERY else shapes}

    @property
    def advanced_wrong(self) -> bool:
        return any(self[name].errors for name in self.ADVANCED)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        backend, shape = cleaned.get("backend") or "simulated", cleaned.get("shape") or "pairwise"
        for name, where in self.WHERE.items():
            if not where.fits(backend, shape):
                self.errors.pop(name, None)
                cleaned.pop(name, None)
        if backend in WRITING and not cleaned.get("model"):
            self.add_error("model", "Name the model.")
        return cleaned

    def config(self, before: dict[str, Any] | None = None) -> dict[str, Any]:
        """The judge's configuration. What the form does not show stays as it was; what is left empty is the default."""
        kept = {name: value for name, value in (before or {}).items() if name not in self.fields}
        empty_means = {"persona", "aspects", "principles", "budget_cap", "alone", "allow_ties"}
        return kept | {
            name: value
            for name, value in self.cleaned_data.items()
            if name in JudgeConfig.model_fields
            and name not in ("name", "version")
            and (name in empty_means or value not in (None, "", []))
        }


class RunForm(forms.Form):
    """What a judge is to judge now."""

    scope = forms.ChoiceField(
        label="Which instances",
        choices=[
            ("random", "Some at random"),
            ("all", "All that it has not judged"),
            ("pilot", "The pilot"),
        ],
    )
    n = forms.IntegerField(label="How many at random", min_value=1, max_value=100_000, initial=50, required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("scope") == "random" and not cleaned.get("n") and "n" not in self.errors:
            self.add_error("n", "Say how many.")
        return cleaned

    def wish(self) -> dict[str, Any]:
        """The scope as :func:`routing.services.judging.start_judging` reads it."""
        data = self.cleaned_data
        return {"kind": "random", "n": data["n"]} if data["scope"] == "random" else {"kind": data["scope"]}
