"""Completions of a policy as instances of a task: to be labelled, judged, and compared with another model's."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from django.conf import settings
from django.db import transaction

from feedback.content import media_of, text_of
from feedback.exceptions import Conflict, InvalidInput, WrongState
from feedback.formats.records import ImportedInstance, ReadOptions, preference_question
from feedback.models import AuditEvent, Instance, JobKind, Task, User
from feedback.services import adding, jobs, tasks
from feedback.services.jobs import JobContext

from .base_models import find_folder
from .models import Generation, ModelKind, TrainedModel
from .watch import prepare, watch

GENERATE = [sys.executable, "-m", "training.generate"]
CHUNK = 500
MOST_PROMPTS = 2000
KEPT = ("lang", "language", "tags", "category", "passages")  # what belongs to a prompt, whoever answers it
LIMITS: Mapping[str, tuple[float, float, type]] = {
    "prompts": (1, MOST_PROMPTS, int),
    "count": (1, 8, int),
    "best_of": (1, 64, int),
    "max_new_tokens": (1, 4096, int),
    "temperature": (0, 10, float),
    "top_p": (0.01, 1, float),
    "seed": (0, 2**31 - 1, int),
}
DEFAULTS: Mapping[str, Any] = {
    "prompts": 100,
    "count": 2,
    "best_of": 1,
    "max_new_tokens": 128,
    "temperature": 1.0,
    "top_p": 1.0,
    "seed": 0,
}


def start_generation(
    model: TrainedModel,
    prompts: Task,
    actor: User,
    *,
    task: Task | None = None,
    task_name: str = "",
    opponent: str = "",
    reward_model: TrainedModel | None = None,
    wishes: Mapping[str, Any] | None = None,
    idempotency_key: str = "",
) -> Generation:
    """Write a generation and its job: completions of ``model`` for prompts of one task, as instances of ``task`` or of
    a new one that asks which is better.

    ``opponent`` (a base model's key) writes the second completion of each instance; it may be the policy's own key, as
    it was before training or a single draw beside the best of several. The same key returns the generation it made
    before. Raises InvalidInput, Conflict.
    """
    asked = _checked(wishes or {}, opponent)
    _check_models(model, prompts, opponent, reward_model, asked)
    project = model.run.project
    if task and task.project_id != project.pk:
        raise InvalidInput(errors={"task": "Choose a task of this project."})
    params = {
        "model": str(model.public_id),
        "prompts": str(prompts.public_id),
        "task": str(task.public_id) if task else task_name,
        "opponent": opponent,
        "reward_model": str(reward_model.public_id) if reward_model else None,
        "wishes": asked,
    }
    with transaction.atomic():
        job = jobs.enqueue(JobKind.GENERATE, project, params, actor=actor, idempotency_key=idempotency_key)
        before = Generation.objects.filter(job=job).first()
        if before:
            if job.params != params:
                raise Conflict("This idempotency key was already used for another generation.")
            return before
        made = Generation.objects.create(
            model=model,
            opponent=opponent,
            reward_model=reward_model,
            prompts=prompts,
            task=task or tasks.create_task(project, task_name, _questions(asked["count"], opponent), actor=actor),
            wishes=asked,
            job=job,
            created_by=actor,
        )
        AuditEvent.write("generation.start", actor=actor, project=project, subject=str(made.public_id))
    return made


def _checked(wishes: Mapping[str, Any], opponent: str) -> dict[str, Any]:
    errors = dict.fromkeys(set(wishes) - set(LIMITS), "There is no such setting.")
    asked = {**DEFAULTS, **({"count": 1} if opponent else {}), **wishes}
    for name, (low, high, kind) in LIMITS.items():
        value = asked[name]
        fits = isinstance(value, int | float if kind is float else int) and not isinstance(value, bool)
        if not fits or not low <= value <= high:
            errors[name] = f"Must be between {low:g} and {high:,g}."
    if not errors and opponent and asked["count"] != 1:
        errors["count"] = "Beside another model each writes one completion."
    if not errors and not opponent and asked["count"] < 2:
        errors["count"] = "One completion alone cannot be compared; write at least two, or choose another model."
    if errors:
        raise InvalidInput(errors=errors)
    return asked


def _check_models(
    model: TrainedModel, prompts: Task, opponent: str, reward_model: TrainedModel | None, asked: Mapping[str, Any]
) -> None:
    project = model.run.project
    if model.kind != ModelKind.POLICY:
        raise InvalidInput(errors={"model": "A reward model writes no text; choose a policy."})
    if prompts.project_id != project.pk:
        raise InvalidInput(errors={"prompts": "Choose a task of this project."})
    if opponent and find_folder(project, opponent) is None:
        raise InvalidInput(errors={"opponent": "There is no such base model."})
    if asked["best_of"] > 1 and reward_model is None:
        raise InvalidInput(errors={"reward_model": "The best of several is chosen by a reward model; choose one."})
    if reward_model is not None and (
        reward_model.kind != ModelKind.REWARD_MODEL or reward_model.run.project_id != project.pk
    ):
        raise InvalidInput(errors={"reward_model": "Choose a reward model of this project."})


def _questions(count: int, opponent: str) -> list[dict[str, Any]]:
    """Which of two is better, or the order of more."""
    if opponent or count == 2:
        return [preference_question(ReadOptions(), both_bad=True)]
    return [{"kind": "ranking", "name": "order", "title": "Rank the completions"}]


def names_of(generation: Generation) -> list[str]:
    """The name that each side's completions carry."""
    own, best_of = f"run {generation.model.run.number}", generation.wishes["best_of"]
    first = f"{own}, best of {best_of}" if best_of > 1 else own
    if not generation.opponent:
        return [first]
    other = find_folder(generation.model.run.project, generation.opponent)
    same = other == generation.model.folder
    return [first, f"{own}, one draw" if same else _name(generation)]


def _name(generation: Generation) -> str:
    kind, _, name = generation.opponent.partition(":")
    if kind != "model":
        return name or generation.opponent
    number = TrainedModel.objects.values_list("run__number", flat=True).get(public_id=name)
    return f"run {number}"


def work(generation: Generation, context: JobContext) -> None:
    """Write the completions, then add the instances, all of them or none.

    Raises TrainingFailed, JobCancelled, FenceLost, WrongState for a model that is not there any more.
    """
    generation.folder.mkdir(parents=True, exist_ok=True)
    prepare(generation.folder, "generation.json", _wishes(generation))
    result = watch(generation.folder, GENERATE, context)
    with transaction.atomic():
        added, left_out = _add(generation)
        report = {"sides": result["report"], "instances": added, "left_out": left_out}
        Generation.objects.filter(pk=generation.pk).update(report=report)
        context.hold()


def _wishes(generation: Generation) -> dict[str, Any]:
    """The content of ``generation.json``."""
    asked, model = generation.wishes, generation.model
    first, *others = names_of(generation)
    sides = [{"name": first, "model": str(model.folder), "best_of": asked["best_of"]}]
    for name in others:
        folder = find_folder(model.run.project, generation.opponent)
        if folder is None or not folder.is_dir():
            raise WrongState("The model to compare with is not there any more.")
        sides.append({"name": name, "model": str(folder)})
    path = generation.folder / "prompts.jsonl"
    if not path.is_file():  # once: a task may grow while the work is started again
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(one) + "\n" for one in _prompts(generation)), encoding="utf-8")
        temporary.replace(path)
    if not path.stat().st_size:
        raise WrongState("The task has no prompts without media to write for.")
    names = ("count", "max_new_tokens", "temperature", "top_p", "seed")
    return {
        "schema": 1,
        "sides": sides,
        "reward_model": str(generation.reward_model.folder) if generation.reward_model else None,
        "prompts": str(path),
        "threads": settings.TRAIN_THREADS or None,
        **{name: asked[name] for name in names},
    }


def _prompts(generation: Generation) -> Iterator[dict[str, Any]]:
    """Different prompts of the task, drawn by the seed."""
    live = Instance.objects.filter(task=generation.prompts, removed_at=None).order_by("pk")
    first = dict(reversed([(digest, pk) for pk, digest in live.values_list("pk", "prompt_hash")]))
    keys = sorted(first.values())
    random.Random(generation.wishes["seed"]).shuffle(keys)
    drawn = (
        instance
        for start in range(0, len(keys), CHUNK)
        for instance in _in_order(keys[start : start + CHUNK])
        if not any(media_of(message["content"]) for message in instance.prompt)
    )
    for instance in islice(drawn, generation.wishes["prompts"]):
        prompt = [{"role": one["role"], "content": text_of(one["content"])} for one in instance.prompt]
        yield {"id": str(instance.pk), "prompt": prompt}


def _in_order(keys: list[int]) -> list[Instance]:
    found = Instance.objects.in_bulk(keys)
    return [found[key] for key in keys if key in found]


def _add(generation: Generation) -> tuple[int, dict[str, int]]:
    """Add what was written as instances; returns how many, and how many were left out for which reason."""
    added, left_out = 0, dict[str, int]()
    with (generation.folder / "completions.jsonl").open(encoding="utf-8") as file:
        rows = map(json.loads, file)
        while chunk := list(islice(rows, CHUNK)):
            reasons = [row["left_out"] for row in chunk if "left_out" in row]
            written = {int(row["id"]): row for row in chunk if "sides" in row}
            sources = Instance.objects.in_bulk(list(written))
            records = [_record(generation, sources[key], row) for key, row in written.items() if key in sources]
            misfits = (adding.misfit(generation.task, record) for record in records)
            for reason in (*reasons, *(f"a completion {misfit}" for misfit in misfits if misfit)):
                left_out[reason] = left_out.get(reason, 0) + 1
            added += adding.add_instances(generation.task, records)
    return added, left_out


def _record(generation: Generation, source: Instance, row: Mapping[str, Any]) -> ImportedInstance:
    completions = [
        {"content": side["drawn"][place]["text"], "model": name}
        for name, side in row["sides"].items()
        for place in side["shown"]
    ]
    kept = {name: source.meta[name] for name in KEPT if name in source.meta}
    needed = {name: value for name, value in (("lang", source.lang), ("skill", source.skill)) if value}
    origin = {"generation": str(generation.public_id), "prompt_of": str(source.public_id)}
    return ImportedInstance(
        external_id=f"{generation.public_id.hex[:12]}-{source.public_id}",
        prompt=source.prompt,
        completions=completions,
        meta={**kept, **needed, **origin},
        source=f"run {generation.model.run.number}",
    )
