"""A small world to route: short and long prompts, a recorded judge that errs on long ones, people who rarely do."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from feedback.models import Annotation, Annotator, Instance
from feedback.services import jobs
from routing.services import planning
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
