from __future__ import annotations

from django import forms

from .fields import TextField


class SettingsForm(forms.Form):
    name = TextField(max_length=120)
    description = TextField(max_length=4000, required=False, widget=forms.Textarea(attrs={"rows": 3}))


class ProjectForm(SettingsForm):
    currency = forms.RegexField(
        r"^[A-Z]{3}\Z",
        initial="USD",
        max_length=3,
        help_text="Three letters, such as USD or EUR. All prices and budgets of the project are in it.",
        error_messages={"invalid": "Three capital letters, such as USD."},
    )
