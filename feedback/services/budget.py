"""Money: reserve before, settle after. Each is one conditional UPDATE, so no race passes the cap."""

from __future__ import annotations

from django.db.models import F, Q

from ..exceptions import BudgetExhausted, InvalidInput
from ..models import AuditEvent, Budget, Task, User

MICROS = 1_000_000


def budget_of(task: Task) -> Budget:
    """The task's budget; a task without one has a cap of zero."""
    return Budget.objects.get_or_create(task=task)[0]


def lock(task: Task) -> None:
    """Take the task's purse first in a transaction that moves its money, so that no two wait for each other.

    Slots of instances and their requests come after it.
    """
    Budget.objects.select_for_update(no_key=True).get(pk=budget_of(task).pk)


def set_cap(task: Task, cap_micros: int, *, actor: User | None) -> Budget:
    """Change the cap. Raises InvalidInput when less than what is spent and reserved."""
    budget = budget_of(task)
    fits = Q(spent_micros__lte=cap_micros - F("reserved_micros"))
    if cap_micros < 0 or not Budget.objects.filter(fits, pk=budget.pk).update(cap_micros=cap_micros):
        raise InvalidInput(errors={"cap": "The cap cannot be below what is already spent and reserved."})
    AuditEvent.write("budget.cap", actor=actor, project=task.project, subject=task.name, cap_micros=cap_micros)
    budget.refresh_from_db()
    return budget


def reserve(task: Task, micros: int) -> None:
    """Set money aside. Raises BudgetExhausted when the cap does not cover it; then nothing changed."""
    budget_of(task)
    room = Q(cap_micros__gte=F("spent_micros") + F("reserved_micros") + micros)
    if not Budget.objects.filter(room, task=task).update(reserved_micros=F("reserved_micros") + micros):
        raise BudgetExhausted


def settle(task: Task, *, reserved_micros: int, spent_micros: int) -> None:
    """Turn a reservation into what it really cost (never more than was reserved) and give the rest back."""
    if not 0 <= spent_micros <= reserved_micros:
        raise ValueError(f"spent {spent_micros} of {reserved_micros} reserved")
    Budget.objects.filter(task=task).update(
        reserved_micros=F("reserved_micros") - reserved_micros, spent_micros=F("spent_micros") + spent_micros
    )


def release(task: Task, micros: int) -> None:
    settle(task, reserved_micros=micros, spent_micros=0)


def unsettle(task: Task, *, spent_micros: int, reserved_micros: int) -> None:
    """Undo a settled payment and set money aside for the next one. Raises BudgetExhausted when that costs too much."""
    room = Q(cap_micros__gte=F("spent_micros") + F("reserved_micros") + reserved_micros - spent_micros)
    moved = Budget.objects.filter(room, task=task).update(
        spent_micros=F("spent_micros") - spent_micros, reserved_micros=F("reserved_micros") + reserved_micros
    )
    if not moved:
        raise BudgetExhausted
