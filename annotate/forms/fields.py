"""Form fields that several screens share."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms

from feedback.services.budget import MICROS
from feedback.text import InvalidText, check_text


class TextField(forms.CharField):
    """Text that every database and file of ours can hold."""

    def clean(self, value: Any) -> str:
        text: str = super().clean(value)
        try:
            return check_text(text)
        except InvalidText as error:
            raise forms.ValidationError(f"The text {error.reason}.") from error


class MoneyField(forms.DecimalField):
    """Money as people write it (``12.50``); cleaned to millionths."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=Decimal(0), max_value=Decimal(1_000_000), decimal_places=6, **kwargs)

    def clean(self, value: Any) -> Any:
        amount = super().clean(value)
        return None if amount is None else int(amount * MICROS)

    def prepare_value(self, value: Any) -> Any:
        return plain_amount(value) if isinstance(value, int) else value


def plain_amount(micros: int) -> str:
    """Millionths as a plain decimal with at least two places: ``500000`` → ``0.50``."""
    amount = (Decimal(micros) / MICROS).normalize()
    places = max(2, -int(amount.as_tuple().exponent))
    return f"{amount:.{places}f}"
