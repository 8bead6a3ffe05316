"""Leafing through rows, mostly instances, in a chosen order, a page at a time, from either side of one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db.models import Model, Q, QuerySet

from ..exceptions import InvalidInput

Row = TypeVar("Row", bound=Model)
SORTS = ("imported", "external_id", "priority", "open_slots", "people", "judges", "talk")
_COLUMN = {"imported": "pk"}
_COUNTED = ("people", "judges", "talk")


@dataclass(frozen=True)
class Order:
    """By one column, then by key; ``column`` is one of what ``finding.with_counts`` rows have."""

    column: str = "pk"
    descending: bool = False

    @classmethod
    def of(cls, sort: str) -> Order:
        """``priority`` or ``-priority``. Raises InvalidInput for what is no order."""
        name = sort.removeprefix("-")
        if sort and name not in SORTS:
            raise InvalidInput(errors={"sort": f"Sort by one of: {', '.join(SORTS)}; a minus turns it round."})
        return cls(_COLUMN.get(name, name or "pk"), sort.startswith("-"))

    @property
    def counts(self) -> bool:
        """Whether rows need the counts of ``finding.with_counts`` to be put in this order."""
        return self.column in _COUNTED

    @property
    def stored(self) -> tuple[str, ...]:
        """The columns of the table that this order reads, besides the key."""
        return () if self.counts or self.column == "pk" else (self.column,)

    def sorted(self, rows: QuerySet[Row], *, backwards: bool = False) -> QuerySet[Row]:
        sign = "-" if self.descending != backwards else ""
        return rows.order_by(f"{sign}{self.column}", *([f"{sign}pk"] if self.column != "pk" else []))

    def beyond(self, rows: QuerySet[Row], anchor: Row, *, backwards: bool = False) -> QuerySet[Row]:
        """The rows after ``anchor`` in this order (before it: ``backwards``), nearest first."""
        way = "lt" if self.descending != backwards else "gt"
        further = Q(**{f"pk__{way}": anchor.pk})
        if self.column != "pk":
            value = getattr(anchor, self.column)
            further = Q(**{f"{self.column}__{way}": value}) | (Q(**{self.column: value}) & further)
        return self.sorted(rows.filter(further), backwards=backwards)


@dataclass(frozen=True)
class Leaf(Generic[Row]):
    """One page: its rows, and whether there are rows before and after them."""

    rows: list[Row]
    before: bool
    after: bool


def leaf(
    rows: QuerySet[Row], order: Order, size: int, *, anchor: Row | None = None, backwards: bool = False
) -> Leaf[Row]:
    """The page after ``anchor``, or before it; without one the first page."""
    if anchor is None:
        found = list(order.sorted(rows)[: size + 1])
        return Leaf(found[:size], False, len(found) > size)
    found = list(order.beyond(rows, anchor, backwards=backwards)[: size + 1])
    more = len(found) > size
    if backwards:
        return Leaf(found[:size][::-1], more, True)
    return Leaf(found[:size], True, more)


def neighbours(rows: QuerySet[Row], order: Order, anchor: Row) -> tuple[Row | None, Row | None]:
    """The rows just before and just after ``anchor``, which need not be among ``rows`` itself."""
    before = order.beyond(rows, anchor, backwards=True).first()
    return before, order.beyond(rows, anchor).first()
