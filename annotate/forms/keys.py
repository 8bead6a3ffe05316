"""The form of a person's keys."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext

from .. import keys


class KeysForm(forms.Form):
    """A field for each action; two actions may not share a key."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name, words in keys.WORDS.items():
            attrs = {"data-key-field": True, "autocomplete": "off", "spellcheck": "false", "size": 4}
            self.fields[name] = forms.CharField(
                label=gettext(words), max_length=1, strip=False, widget=forms.TextInput(attrs=attrs)
            )

    def clean(self) -> dict[str, Any]:
        for name, words in keys.problems(self.cleaned_data).items():
            self.add_error(name, words)
        return self.cleaned_data
