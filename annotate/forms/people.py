from __future__ import annotations

from django import forms
from django.contrib.auth.password_validation import validate_password

from feedback.models import ApiToken, Role

from .fields import TextField

SCOPES = {
    "read": "Read what you may see",
    "annotate": "Label in your name",
    "write": "Create and change tasks, imports and datasets",
    "train": "Start and stop training",
}


class InvitationForm(forms.Form):
    email = forms.EmailField(max_length=254)
    role = forms.ChoiceField(choices=Role.choices, initial=Role.ANNOTATOR)


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)


class TokenForm(forms.Form):
    name = TextField(max_length=80, help_text="What uses it, such as “nightly export”.")
    scopes = forms.MultipleChoiceField(
        choices=[(scope, SCOPES[scope]) for scope in ApiToken.SCOPES],
        initial=["read"],
        widget=forms.CheckboxSelectMultiple,
    )
    days = forms.IntegerField(min_value=1, max_value=365, initial=90, label="Days it lasts")


class WelcomeForm(forms.Form):
    """What a person who was invited and has no account yet fills in."""

    name = TextField(max_length=120)
    password = forms.CharField(
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}), strip=False, max_length=128
    )

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        validate_password(password)
        return password
