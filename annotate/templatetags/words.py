"""The catalogue that the scripts of a page speak from."""

from __future__ import annotations

from functools import cache

from django import template
from django.conf import settings
from django.utils.html import json_script
from django.utils.safestring import SafeString
from django.utils.translation import get_language
from django.utils.translation.trans_real import DjangoTranslation
from django.views.i18n import JSONCatalog

register = template.Library()


@register.simple_tag
def script_words() -> SafeString:
    """The data block ``js/i18n.js`` reads; nothing in English, whose words are in the scripts themselves."""
    language = (get_language() or "en").split("-")[0]
    return _block(language) if language != "en" else SafeString()


@cache
def _block(language: str) -> SafeString:
    catalogue = JSONCatalog()
    catalogue.translation = DjangoTranslation(
        language, domain="djangojs", localedirs=[str(p) for p in settings.LOCALE_PATHS]
    )
    return json_script(catalogue.get_catalog(), "script-words")
