"""Money as people read it."""

from __future__ import annotations

from decimal import Decimal

from feedback.services.budget import MICROS

SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹"}


def money(micros: int, currency: str) -> str:
    """Millionths of ``currency`` in words: ``$1,234.50``, ``12.00 CHF``; amounts below a cent keep four places,
    those below a tenth of a cent six."""
    amount = Decimal(micros) / MICROS
    small = 0 < abs(amount) < Decimal("0.01")
    places = (6 if abs(amount) < Decimal("0.001") else 4) if small else 2
    digits = f"{amount:,.{places}f}"
    symbol = SYMBOLS.get(currency)
    return f"{symbol}{digits}" if symbol else f"{digits} {currency}"
