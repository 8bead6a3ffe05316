"""A project in which every page has something to show: the demo, taken to the end of the loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.annotate.trained import finished_evaluation, finished_run
from tests.conftest import Cast, make_user


@dataclass
class Furnished:
    """``ids`` are the public ids by the argument names of the URLs; ``empty`` a project with nothing in it."""

    project: Any
    empty: Any
    owner: Any
    annotator: Any
    ids: dict[str, str]


def furnish() -> Furnished:
    """The demo project, which has a judge, a plan, a version and a waiting run, with what it lacks.

    That is: its plan in force, a trained model, an import, an invitation, a token, and a label of ``annotator``.
    """
    from annotate.demo import loading
    from feedback.models import Membership, Role
    from feedback.services import people
    from routing.models import Judge, RoutingPlan
    from routing.services import applying

    owner, annotator = make_user("owner"), make_user("annotator")
    project = loading.load(owner)
    Membership.objects.create(project=project, user=annotator, role=Role.ANNOTATOR)
    people.invite(project, "someone@example.org", Role.VIEWER, actor=owner)
    people.make_token(owner, "nightly export", ["read"])
    task = project.tasks.get(name="Helpful and true")
    plan = RoutingPlan.objects.get(task=task)
    applying.apply_plan(plan, actor=owner)
    rows = {
        "task": task,
        "instance": task.instances.order_by("pk").first(),
        "member": annotator,
        "batch": _imported(task, owner),
        "judge": (judge := Judge.objects.get(project=project)),
        "annotator": judge.annotator,
        "plan": plan,
        "version": task.dataset_versions.get(),
        **_trained(project, task, owner),
        "annotation": _said(task, annotator),  # last: a frozen one can no longer be edited
    }
    empty = people.create_project("Nothing yet", owner=owner)
    ids = {name: str(row.public_id) for name, row in rows.items()}
    return Furnished(project, empty, owner, annotator, ids | {"preset": "multipref"})


def _said(task: Any, annotator: Any) -> Any:
    from uuid import uuid4

    from feedback.services import queue

    answers = {"overall": {"value": "tie", "confidence": 3, "other_reason": "Neither says why."}}
    lent = queue.next_assignment(task, annotator)
    return queue.submit(lent, submission_id=uuid4(), answers=answers, active_ms=9000)[0]


def _imported(task: Any, owner: Any) -> Any:
    """A checked import with a bad row."""
    from feedback.services import importing, uploads

    lines = [b'{"prompt": "Why?", "a": "Because.", "b": "No idea."}', b'{"prompt": "Who?", "a": "", "b": "Me."}']
    stored = uploads.store_upload([b"\n".join(lines)], "few.jsonl")
    batch = importing.new_batch(task, stored, actor=owner)
    importing.set_mapping(batch, {"prompt": "prompt", "completions": ["a", "b"]}, annotations=False)
    importing.dry_run(batch)
    return batch


def _trained(project: Any, task: Any, owner: Any) -> dict[str, Any]:
    cast = Cast(project, task, owner, owner, owner, owner, owner, owner)
    run = finished_run(cast)
    return {
        "run": run,
        "model": run.model,
        "job": run.job,
        "evaluation": finished_evaluation(cast, run.model),
        **_put_to_use(cast, task, owner),
    }


def _put_to_use(cast: Cast, task: Any, owner: Any) -> dict[str, Any]:
    """A sweep, completions of a policy and scores of a reward model."""
    from tests.annotate.test_generations import policy, scored
    from training import generations, sweeps

    version = task.dataset_versions.get()
    written = generations.start_generation(policy(cast), task, owner, task_name="Written", opponent="small")
    return {
        "sweep": sweeps.start_sweep(version, "bt", "small", {}, {"seed": [1, 2]}, owner),
        "generation": written,
        "scoring": scored(cast),
    }
