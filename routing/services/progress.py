"""How far an applied plan is: instances asked of people and of judges, and those that are answered."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, Q

from feedback.models import RequestState

from ..models import Arm, RoutingPlan


@dataclass(frozen=True)
class Progress:
    """Instances of one arm: those that were asked for and not withdrawn, and how many of those are answered."""

    asked: int
    answered: int

    @property
    def waiting(self) -> int:
        return self.asked - self.answered


def progress_of(plan: RoutingPlan) -> dict[Arm, Progress]:
    """By arm, as the plan's decisions stand; arms of which nothing is asked are left out."""
    decided = plan.decisions.current().filter(request__isnull=False).exclude(request__state=RequestState.WITHDRAWN)
    waiting = Count("pk", filter=Q(request__state=RequestState.OPEN))
    counted = decided.order_by().values("arm").annotate(asked=Count("pk"), waiting=waiting)
    found = {row["arm"]: Progress(row["asked"], row["asked"] - row["waiting"]) for row in counted}
    return {arm: found[arm.value] for arm in Arm if arm.value in found}
