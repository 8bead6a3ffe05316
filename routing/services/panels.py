"""A panel at work: each member judges by itself, with its own calls and cache, and the panel says what follows."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.db import transaction

from feedback.models import Instance, RequestState, Task
from feedback.services import budget
from feedback.services.jobs import JobContext
from routing.judge.asking import Ask, Material, united
from routing.judge.panel import combine_members
from routing.judge.said import Said
from routing.judge.verdict import Verdict as Reading

from ..models import Judge, Verdict
from . import calls, judging, verdicts
from .asking import Asking, askings

AT_ONCE = 200


def run_panel(context: JobContext, task: Task, panel: Judge, pool: Sequence[int]) -> dict[str, Any]:
    """Let every member judge what it has not judged of the pool, then write the panel's verdicts."""
    asked = askings(panel, task)
    spent, left, words = 0, 0, []
    for one in asked:
        waiting = set(judging.unjudged(task, one.judge).values_list("pk", flat=True))
        run = judging.Judging(context, task, one.judge, [pk for pk in pool if pk in waiting], panel=panel).work()
        spent, left = spent + run["spent_micros"], max(left, run["left"])
        words.append(f"{one.judge}: {run['message']}")
    tally = _Combining(context, task, panel, asked).work(pool)
    message = f"{tally['judged']:,} judged by the panel, {tally['split']:,} split. {' '.join(words)}"
    return {**tally, "spent_micros": spent, "left": left, "message": message}


class _Combining:
    """The panel's verdicts from its members'."""

    def __init__(self, context: JobContext, task: Task, panel: Judge, asked: Sequence[Asking]) -> None:
        self.context, self.task, self.panel, self.asked = context, task, panel, asked
        self.ask: Ask = united([one.ask for one in asked])
        self.tally = {"judged": 0, "abstained": 0, "unreached": 0, "skipped": 0, "to_people": 0, "split": 0}

    def work(self, pool: Sequence[int]) -> dict[str, int]:
        for start in range(0, len(pool), AT_ONCE):
            with transaction.atomic():
                self.context.hold()
                calls.lock(self.panel, self.task)
                self._combine(pool[start : start + AT_ONCE])
        return self.tally

    def _combine(self, batch: Sequence[int]) -> None:
        members = [one.judge.pk for one in self.asked]
        rows: dict[int, list[Verdict]] = {pk: [] for pk in batch}
        for row in Verdict.objects.filter(judge__in=members, instance__in=batch).order_by("judge"):
            rows[row.instance_id].append(row)
        instances = Instance.objects.in_bulk(list(batch))
        requests = calls.open_request(self.panel, batch)
        moved = []
        for pk, said in rows.items():
            if len(said) < len(members):
                self.tally["skipped"] += 1
                continue
            question = calls.Question(instances[pk], Material((), ()), requests.get(pk))
            moved.append(self._store(question, said))
        verdicts.move_in_mixes([one for one in moved if one])

    def _store(self, question: calls.Question, said: Sequence[Verdict]) -> verdicts.HandedOver | None:
        reading, agreement = combine_members(
            [_reading(row) for row in said], self.ask, self.panel.parsed.least_agreement
        )
        asking = Asking(self.panel, self.panel.parsed, self.ask, None)
        cost = verdicts.PanelCost(agreement, sum(row.cost_micros for row in said))
        row = verdicts.store(self.task, asking, question, reading, panel=cost)
        outcome = "unreached" if row.unreached else "abstained" if row.annotation is None else "judged"
        self.tally[outcome] += 1
        self.tally["split"] += row.annotation is not None and row.needs_person
        return self._answer(question, row)

    def _answer(self, question: calls.Question, row: Verdict) -> verdicts.HandedOver | None:
        """End the panel's request; what its members left of its money goes back."""
        held = question.request.price_micros if question.request else 0
        handed_over = verdicts.answer_request(self.task, question, row)
        if question.request and question.request.state in (RequestState.DONE, RequestState.ABSTAINED):
            budget.release(self.task, held)
        self.tally["to_people"] += handed_over is not None
        return handed_over


def _reading(row: Verdict) -> Reading:
    answered = row.annotation_id is not None
    return Reading(
        p_a=row.p_a if answered else None,
        p_ab=row.p_ab,
        p_ba=row.p_ba,
        tie=row.tie,
        strength=row.strength,
        order_consistent=row.order_consistent,
        self_consistency=row.self_consistency,
        attention=row.attention,
        needs_person=row.needs_person,
        abstentions=tuple(row.abstentions),
        rationale=row.rationale,
        cost=Decimal(0),
        said=Said.model_validate(row.said) if answered else None,
    )
