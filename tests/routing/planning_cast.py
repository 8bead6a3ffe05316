"""A small world to route: short and long prompts, a recorded judge that errs on long ones, people who rarely do."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from typing import Any

from feedback.exceptions import NothingToLabel
from feedback.models import Annotation, Annotator, Instance, Job
from feedback.services import jobs, queue, tasks
from routing.services import applying, planning, rounds
from tests.conftest import Cast, make_cast
from tests.routing.judging_cast import set_cap

PRICE = 500_000
WORDS = ("river", "stone", "light", "paper", "engine", "garden", "number", "letter", "window", "market", "winter")


@dataclass
class World:
    cast: Cast
    judge: Any
    instances: list[Any]
    truth: dict[int, bool]


def make_world(size: int = 160, votes: int = 80, seed: int = 1) -> World:
    """``votes`` instances carry one person's label; the judge annotated all, and is wrong on half of the long ones."""
    rng = random.Random(seed)
    cast = make_cast(instances=0)
    instances = Instance.objects.bulk_create(_instance(cast.task, number, rng) for number in range(size))
    judge = Annotator.objects.create(project=cast.project, kind="judge", name="Recorded judge")
    people = [Annotator.objects.create(project=cast.project, kind="human", name=f"Person {n}") for n in range(4)]
    truth = {instance.pk: rng.random() < 0.5 for instance in instances}
    rows = []
    for number, instance in enumerate(instances):
        long = len(instance.prompt[0]["content"]) > 200
        right = rng.random() > (0.5 if long else 0.05)
        rows.append(_annotation(cast, instance, judge, "judge", truth[instance.pk] == right, consistent=right))
        if number < votes:
            right = rng.random() > 0.1
            rows.append(_annotation(cast, instance, people[number % 4], "human", truth[instance.pk] == right))
    Annotation.objects.bulk_create(rows)
    set_cap(cast.task, 10**12)
    return World(cast, judge, instances, truth)


def _instance(task: Any, number: int, rng: random.Random) -> Instance:
    def text(length: int) -> str:
        return " ".join(rng.choice(WORDS) for _ in range(length))

    return Instance(
        task=task,
        external_id=f"w{number}",
        prompt=[{"role": "user", "content": f"{text(rng.choice([5, 60]))}?"}],
        completions=[{"content": text(rng.randint(5, 60)), "model": "m"} for _ in "ab"],
        prompt_hash=f"{number:064x}",
    )


def _annotation(
    cast: Cast, instance: Any, who: Any, source: str, a_better: bool, *, consistent: bool = True
) -> Annotation:
    value = "a-is-clearly-better" if a_better else "b-is-clearly-better"
    details = {"p_a": 0.9 if a_better else 0.1, "order_consistent": consistent} if source == "judge" else {}
    return Annotation(
        task=cast.task,
        instance=instance,
        annotator=who,
        source=source,
        answers={"overall": {"value": value}},
        details=details,
        recorded=True,
    )


def planned(world: World, strategy: str, humans: int, **params: Any) -> Any:
    """A plan with money for ``humans`` more labels, computed here."""
    plan = planning.make_plan(
        world.cast.task, strategy, humans * PRICE, judge=world.judge, actor=world.cast.owner, seed=5, params=params
    )
    jobs.run(plan.job.pk)  # type: ignore[union-attr]
    plan.refresh_from_db()
    return plan


def open_for_labels(world: World) -> None:
    if world.cast.task.state != "open":
        tasks.open_task(world.cast.task, actor=world.cast.owner)


def label_open(world: World, most: int = 1000, *, person: Any = None, wrong: frozenset[int] = frozenset()) -> int:
    """One person answers what is open, by the truth (against it on the instances ``wrong``), as the queue lends it."""
    open_for_labels(world)
    done = 0
    while done < most:
        try:
            lent = queue.next_assignment(world.cast.task, person or world.cast.annotator)
        except NothingToLabel:
            break
        value = (
            "a-is-clearly-better"
            if world.truth[lent.instance_id] != (lent.instance_id in wrong)
            else "b-is-clearly-better"
        )
        answers = {"overall": {"value": value}}
        queue.submit(lent, submission_id=uuid.uuid4(), answers=answers, active_ms=1)
        done += 1
    return done


def in_rounds(world: World, humans: int = 100, **params: Any) -> Any:
    """A plan in rounds, applied; its first round waits for labels."""
    world.cast.task.plan_only = True
    world.cast.task.save(update_fields=["plan_only"])
    plan = planned(world, "adaptive_advantage", humans, **params)
    applying.apply_plan(plan, actor=world.cast.owner)
    plan.refresh_from_db()
    return plan


def go_on(plan: Any) -> bool:
    """What the beat and a worker do: begin the next round where labels are in, and run its job."""
    began = rounds.advance()
    for job in Job.objects.filter(kind="plan", state="queued"):
        jobs.run(job.pk)
    plan.refresh_from_db()
    return bool(began)
