"""Judging as a job: which instances, both orders through a few threads, verdicts as annotations.

Threads only talk to the judge; every row is written by the job's own thread. At most :data:`IN_FLIGHT` instances are
out at a time, each reserved just before its calls are made.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, ClassVar
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from feedback.exceptions import BudgetExhausted, Conflict, FeedbackError, InvalidInput, WrongState
from feedback.models import (
    Annotation,
    AnnotationRequest,
    AuditEvent,
    Instance,
    Job,
    JobKind,
    RequestState,
    Source,
    Task,
    User,
)
from feedback.services import budget, jobs
from feedback.services.jobs import JobContext
from routing.judge.asking import Material
from routing.judge.calling import CallResult
from routing.judge.calling import judge as ask_judge
from routing.judge.config import Order
from routing.judge.verdict import combine_calls

from ..models import PILOT, Judge, JudgeCall, RoutingPlan, Verdict
from . import calls, panels, requests, verdicts
from .asking import Asking, askings, worst_cases
from .calls import Question
from .judges import api_key_of, backend_for

WORKERS = 8
IN_FLIGHT = 8
MOST_UNREACHED = 10
GRACE_SECONDS = 5.0
MOST_RANDOM = 100_000
SCOPES = {"all", "pilot", "plan", "random"}


class JudgeUnreachable(FeedbackError):
    """The judge's endpoint could not be used."""

    code = "judge-unreachable"
    status = 502


def unjudged(task: Task, judge: Judge) -> QuerySet[Instance]:
    """The task's instances that this judge has said nothing of."""
    said = Verdict.objects.filter(judge=judge, instance=OuterRef("pk"), unreached=False)
    annotated = Annotation.objects.live().filter(annotator=judge.annotator_id, instance=OuterRef("pk"))
    return Instance.objects.filter(~Exists(said), ~Exists(annotated), task=task, removed_at=None).order_by("pk")


def start_judging(
    task: Task, judge: Judge, scope: dict[str, Any], *, actor: User | None, idempotency_key: str = ""
) -> Job:
    """Enqueue judging of ``{"kind": "all" | "pilot" | "plan" | "random", "plan": id, "n": count, "seed": int}``.

    Raises InvalidInput for a scope that makes no sense, WrongState for a retired judge, Conflict while one runs.
    """
    params = {"task": task.pk, "judge": judge.pk, "scope": _checked_scope(task, judge, scope)}
    if judge.retired_at is not None or judge.project_id != task.project_id:
        raise WrongState("This judge is out of use; run its newest version.")
    askings(judge, task)
    repeated = _repeated(task, idempotency_key)
    if repeated:
        return repeated
    with transaction.atomic():
        Judge.objects.select_for_update(no_key=True).get(pk=judge.pk)
        active = Job.objects.active().filter(kind=JobKind.JUDGE, params__task=task.pk, params__judge=judge.pk)
        if active.exists():
            raise Conflict("This judge is already at work on this task.")
        AuditEvent.write(
            "judge.run", actor=actor, project=task.project, subject=str(judge), scope=scope.get("kind"), task=task.name
        )
        return jobs.enqueue(JobKind.JUDGE, task.project, params, actor=actor, idempotency_key=idempotency_key)


def _repeated(task: Task, key: str) -> Job | None:
    return Job.objects.filter(project=task.project, kind=JobKind.JUDGE, idempotency_key=key).first() if key else None


def _checked_scope(task: Task, judge: Judge, scope: dict[str, Any]) -> dict[str, Any]:
    kind = scope.get("kind")
    if kind not in SCOPES:
        raise InvalidInput(errors={"scope": f"Choose one of: {', '.join(sorted(SCOPES))}."})
    if kind == "plan":
        plan = _plan_of(task, scope.get("plan"))
        return {"kind": kind, "plan": plan.pk}
    if kind == "random":
        return {"kind": kind, "instances": _drawn(task, judge, scope.get("n"), int(scope.get("seed") or 0))}
    return {"kind": kind}


def _plan_of(task: Task, public_id: object) -> RoutingPlan:
    try:
        return RoutingPlan.objects.get(task=task, public_id=UUID(str(public_id)))
    except (ValueError, RoutingPlan.DoesNotExist) as error:
        raise InvalidInput(errors={"plan": "This task has no such plan."}) from error


def _drawn(task: Task, judge: Judge, count: object, seed: int) -> list[int]:
    """Drawn when the job is made, so that a restart judges the same instances and no more."""
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST_RANDOM:
        raise InvalidInput(errors={"n": f"Choose between 1 and {MOST_RANDOM:,} instances."})
    pool = list(unjudged(task, judge).values_list("pk", flat=True))
    return sorted(random.Random(seed).sample(pool, min(count, len(pool))))


def in_scope(task: Task, judge: Judge, scope: dict[str, Any]) -> QuerySet[Instance]:
    """The unjudged instances that a stored scope names."""
    instances = unjudged(task, judge)
    if scope["kind"] == "random":
        return instances.filter(pk__in=scope["instances"])
    if scope["kind"] == "pilot":
        return instances.filter(decisions__plan__strategy=PILOT).distinct()
    if scope["kind"] == "plan":
        asked = requests.of_plan(RoutingPlan.objects.get(pk=scope["plan"]))
        waiting = asked.filter(source=Source.JUDGE, judge=judge.annotator_id, state=RequestState.OPEN)
        return instances.filter(pk__in=waiting.values("instance"))
    return instances


def estimate_micros(task: Task, judge: Judge, count: int, *, sample: int = 50) -> int:
    """The most that judging ``count`` more instances can cost, from the mean worst case of a few of them."""
    costs = [cost for cost in worst_cases(judge, task, unjudged(task, judge)[:sample]).values() if cost]
    return -(-sum(costs) * count // len(costs)) if costs else 0


def run_judging(context: JobContext) -> dict[str, Any]:
    """The job's handler. Raises JudgeUnreachable when the endpoint fails ten instances in a row."""
    task = Task.objects.select_related("project").get(pk=context.params["task"])
    judge = Judge.objects.select_related("annotator").get(pk=context.params["judge"])
    with transaction.atomic():
        context.hold()
        budget.lock(task)
        lost = calls.end_lost_calls(task, context.job)
        verdicts.close_answered(task, judge)
    pool = list(in_scope(task, judge, context.params["scope"]).values_list("pk", flat=True))
    work = panels.run_panel if judge.parsed.members else run_alone
    return work(context, task, judge, pool) | {"lost_calls": lost}


def run_alone(context: JobContext, task: Task, judge: Judge, pool: Sequence[int]) -> dict[str, Any]:
    return Judging(context, task, judge, pool).work()


class Judging:
    """One run of the job: the instances still to ask, those in flight, and the tally.

    A member of a ``panel`` spends what the requests to the panel hold, and ends none of them.
    """

    counted: ClassVar[tuple[str, ...]] = ("judged", "abstained", "unreached", "skipped", "to_people", "spent_micros")

    def __init__(
        self,
        context: JobContext,
        task: Task,
        judge: Judge,
        instance_ids: Sequence[int],
        *,
        panel: Judge | None = None,
    ) -> None:
        self.context, self.task, self.judge, self.panel = context, task, judge, panel
        self.asking = self._asks()
        self.backend, self.secret = backend_for(judge), api_key_of(judge)
        self.waiting = deque(instance_ids)
        self.total = len(instance_ids)
        self.in_flight: dict[Future[CallResult], tuple[Question, JudgeCall]] = {}
        self.tally = dict.fromkeys(self.counted, 0)
        self.stopped = ""
        self.unreached_in_a_row = 0
        self.last_error = ""
        self.pool = ThreadPoolExecutor(WORKERS, thread_name_prefix=f"judge-{context.job.pk}")

    def _asks(self) -> Any:
        """What is put to the judge about an instance."""
        return Asking.of(self.judge, self.task)

    def _requests(self, batch: Sequence[int]) -> dict[int, AnnotationRequest]:
        """What plans asked of this judge, by instance: their money is spent first, and they end with the answer."""
        return calls.open_request(self.panel or self.judge, batch)

    def work(self) -> dict[str, Any]:
        try:
            self._report()
            while (self.waiting and not self.stopped) or self.in_flight:
                self._ask_more()
                self._collect()
                self._report()
        finally:
            self.pool.shutdown(wait=False, cancel_futures=True)
            self._wind_down()
        return {**self.tally, "left": len(self.waiting), "message": self._words()}

    def _ask_more(self) -> None:
        room = IN_FLIGHT - len({id(question) for question, _ in self.in_flight.values()})
        if room <= 0 or not self.waiting or self.stopped:
            return
        batch = [self.waiting.popleft() for _ in range(min(room, len(self.waiting)))]
        for question in self._reserved(batch):
            for call in question.calls:
                self.in_flight[self.pool.submit(self._call, question.material, call)] = (question, call)
            if not question.calls:
                self._finish([question])

    def _reserved(self, batch: Sequence[int]) -> list[Question]:
        """Reserve a batch in one transaction; what the budget does not cover goes back to the front."""
        instances = Instance.objects.in_bulk(list(batch))
        questions: list[Question] = []
        with transaction.atomic():
            self.context.hold()
            calls.lock(self.judge, self.task)
            requests = self._requests(batch)
            for place, pk in enumerate(batch):
                material = self.asking.material(instances[pk])
                if material is None:
                    self.tally["skipped"] += 1
                    continue
                question = Question(instances[pk], material, requests.get(pk), keeps=self.panel is not None)
                try:
                    ours = calls.reserve_calls(self.asking, self.task, question, self.context.job)
                except BudgetExhausted as error:
                    self.stopped = error.message
                    self.waiting.extendleft(reversed(batch[place:]))
                    break
                if ours:
                    questions.append(question)
                else:
                    self._wait_for_twin(pk, bool(questions))
        return questions

    def _wait_for_twin(self, pk: int, more_in_flight: bool) -> None:
        """The same texts are being judged right now: come back when that is answered, unless another job does it."""
        if self.in_flight or more_in_flight:
            self.waiting.append(pk)
        else:
            self.tally["skipped"] += 1

    def _call(self, material: Material, call: JudgeCall) -> CallResult:
        order: Order = "ab" if call.order == "ab" else "ba"
        nonces = random.SystemRandom()
        asking = self.asking
        return ask_judge(
            asking.config, asking.ask, self.backend, material, order, nonces, sample=call.sample, part=call.part
        )

    def _collect(self, timeout: float = 1.0) -> None:
        done, _ = wait(self.in_flight, timeout=timeout, return_when=FIRST_COMPLETED)
        complete = []
        for future in done:
            question, call = self.in_flight.pop(future)
            question.results[call.pk] = future.result()
            if question.complete:
                complete.append(question)
        if complete:
            self._finish(complete)

    def _finish(self, questions: Sequence[Question]) -> None:
        with transaction.atomic():
            self.context.hold()
            budget.lock(self.task)
            verdicts.move_in_mixes([moved for moved in map(self._store, questions) if moved])
        if self.unreached_in_a_row >= MOST_UNREACHED:
            raise JudgeUnreachable(
                f"The judge's endpoint could not be used {MOST_UNREACHED} times in a row. {self.last_error} "
                f"{self._words()} Check its address and key, then run it again; nothing is asked twice."
            )

    def _store(self, question: Question) -> verdicts.HandedOver | None:
        self.tally["spent_micros"] += calls.settle_calls(self.judge, self.task, question, self.secret)
        verdict = combine_calls(calls.results_of(question), self.asking.config, self.asking.ask)
        row = verdicts.store(self.task, self.asking, question, verdict)
        outcome = "unreached" if row.unreached else "abstained" if row.annotation is None else "judged"
        self.tally[outcome] += 1
        self.unreached_in_a_row = self.unreached_in_a_row + 1 if row.unreached else 0
        if row.unreached:
            self.last_error = next((call.error for call in question.calls if call.error), "")
        if self.panel:
            return None
        handed_over = verdicts.answer_request(self.task, question, row)
        self.tally["to_people"] += handed_over is not None
        return handed_over

    def _wind_down(self) -> None:
        """Leave nothing reserved: hear out what answers within seconds, count the rest at its worst case."""
        if not self.in_flight:
            return
        done, _ = wait(self.in_flight, timeout=GRACE_SECONDS)
        unsent = [self.in_flight[future][1] for future in done if future.cancelled()]
        answered = {future for future in done if not future.cancelled() and future.exception() is None}
        for future in answered:
            question, call = self.in_flight[future]
            question.results[call.pk] = future.result()
        questions = {id(question): question for question, _ in self.in_flight.values()}
        with transaction.atomic():
            self.context.hold()
            budget.lock(self.task)
            calls.give_up(self.task, unsent, sent=False)
            for question in questions.values():
                if question.complete:
                    self._store(question)
                else:
                    heard = {call.pk for call in unsent}
                    calls.give_up(self.task, [c for c in question.calls if c.pk not in heard], sent=True)
        self.in_flight.clear()

    def _report(self) -> None:
        done = self.total - len(self.waiting) - len({id(question) for question, _ in self.in_flight.values()})
        self.context.progress(done, self.total, self._words())

    def _told(self) -> str:
        words = [f"{self.tally['judged']:,} judged"]
        words += [f"{self.tally[name]:,} {name}" for name in ("abstained", "unreached", "skipped") if self.tally[name]]
        return f"{', '.join(words)}."

    def _words(self) -> str:
        sentence = self._told()
        if self.stopped:
            sentence += f" {self.stopped} {len(self.waiting):,} left; raise the cap and run again."
        return sentence
