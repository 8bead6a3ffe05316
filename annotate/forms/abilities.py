"""What a member reads and can do, as people type it: names or tags of languages, skills, between commas."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from django import forms
from django.utils.translation import gettext, gettext_lazy

from feedback.abilities import language_tags, skill_names
from feedback.models import Membership
from feedback.text import InvalidText

from .. import languages
from .fields import TextField

_COMMA = re.compile("[,;،、\n]")
MAX_TYPED = 2_000


class ListField(TextField):
    """Words between commas, brought into one spelling by ``spelled``."""

    spelled: Callable[[Iterable[str]], list[str]]

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, max_length=MAX_TYPED, **options)

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        return super().widget_attrs(widget) | {"autocomplete": "off", "spellcheck": "false"}

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        words = _COMMA.split(super().clean(value))
        try:
            return type(self).spelled(words)
        except InvalidText as error:
            raise forms.ValidationError(self.refusal(error)) from error

    def refusal(self, error: InvalidText) -> str:
        return f"{error.reason[:1].upper()}{error.reason[1:]}."


class LanguagesField(ListField):
    @staticmethod
    def spelled(raw: Iterable[str]) -> list[str]:
        return language_tags(languages.tag_of(one) for one in raw)

    def refusal(self, error: InvalidText) -> str:
        return gettext("Name at most 20 languages, each by its name or a code such as de or pt-br.")


class SkillsField(ListField):
    spelled = staticmethod(skill_names)


class LanguagesForm(forms.Form):
    """The languages that a person says they read in one project."""

    languages = LanguagesField(
        label=gettext_lazy("Languages you read"),
        help_text=gettext_lazy("Names or codes, with commas between them: German, en, pt-br. Empty: whatever comes."),
    )

    def __init__(self, data: Any = None, *, of: Membership) -> None:
        super().__init__(data, initial={"languages": of.languages}, auto_id=f"{of.user.public_id}-{of.pk}-%s")


class AbilitiesForm(LanguagesForm):
    """What a manager says of a member."""

    skills = SkillsField(help_text="Such as law, internal medicine. Empty: only what asks for no skill.")

    def __init__(self, data: Any = None, *, of: Membership) -> None:
        super().__init__(data, of=of)
        self.fields["languages"].label = "Languages they read"
        self.initial["skills"] = of.skills
