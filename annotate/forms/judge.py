"""The forms of a judge: how it is configured, and what it is asked to judge."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms

from routing.judge.config import DEFAULT_RUBRIC
from routing.models import KEY_PREFIX

from .fields import TextField


class JudgeForm(forms.Form):
    """How a judge is asked. Fields that a new one leaves alone keep their defaults."""

    name = TextField(max_length=120)
    backend = forms.ChoiceField(
        label="Where verdicts come from",
        choices=[
            ("simulated", "Simulated pool: thirteen invented annotators, free, for trying things out"),
            ("openai", "An OpenAI-compatible endpoint (vLLM, llama.cpp, hosted)"),
        ],
    )
    model = TextField(max_length=200, initial="simulated-pool", help_text="The name the endpoint knows it by.")
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
    shape = forms.ChoiceField(
        label="Asked as", choices=[("pairwise", "Which one is better"), ("rating", "Rate both from 1 to 10")]
    )
    rubric = TextField(max_length=8000, initial=DEFAULT_RUBRIC, widget=forms.Textarea(attrs={"rows": 4}))
    persona = TextField(max_length=2000, required=False, widget=forms.Textarea(attrs={"rows": 2}))
    swap = forms.ChoiceField(
        label="Side order",
        choices=[
            ("both", "Ask in both orders; conflicts show"),
            ("random", "One order, drawn for each instance"),
            ("none", "Always A first"),
        ],
        help_text="Both orders cost twice and take the pull of the first place out.",
    )
    allow_ties = forms.BooleanField(label="It may say tie", required=False, initial=True)
    price_in = forms.DecimalField(
        label="Price of a million tokens in", min_value=Decimal(0), max_digits=14, decimal_places=6, initial=0
    )
    price_out = forms.DecimalField(
        label="Price of a million tokens out", min_value=Decimal(0), max_digits=14, decimal_places=6, initial=0
    )
    temperature = forms.FloatField(min_value=0, max_value=2, initial=0)
    max_tokens = forms.IntegerField(label="Longest reply in tokens", min_value=16, max_value=16384, initial=512)
    top_logprobs = forms.IntegerField(label="Log-probabilities to ask for", min_value=0, max_value=20, initial=0)
    seed = forms.IntegerField(min_value=0, max_value=2**31 - 1, initial=0)

    MAIN = ("name", "backend", "model", "base_url", "api_key_env", "rubric")
    PRICES = ("price_in", "price_out")
    ADVANCED = ("shape", "swap", "allow_ties", "persona", "temperature", "max_tokens", "top_logprobs", "seed")

    def main(self) -> list[forms.BoundField]:
        return [self[name] for name in self.MAIN if name in self.fields]

    def prices(self) -> list[forms.BoundField]:
        return [self[name] for name in self.PRICES]

    def advanced(self) -> list[forms.BoundField]:
        return [self[name] for name in self.ADVANCED]

    @property
    def advanced_wrong(self) -> bool:
        return any(self[name].errors for name in self.ADVANCED)

    def config(self, before: dict[str, Any] | None = None) -> dict[str, Any]:
        """The judge's configuration; what this form does not show stays as it was."""
        kept = {name: value for name, value in (before or {}).items() if name not in self.fields}
        chosen = {name: value for name, value in self.cleaned_data.items() if name not in ("name", "api_key_env")}
        return {**kept, **chosen}


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
