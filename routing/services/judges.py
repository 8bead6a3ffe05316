"""Judges: make, edit, retire, and connect. A change that reaches the endpoint makes a new version."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from decimal import ROUND_UP, Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone
from pydantic import ValidationError

from feedback.egress import EgressPolicy, EgressRefused, check_url
from feedback.exceptions import Conflict, InvalidInput, WrongState
from feedback.model_folder import UnsafeFolder
from feedback.models import Annotator, AnnotatorKind, AuditEvent, Project, User
from feedback.services.budget import MICROS
from feedback.text import InvalidText, check_texts
from routing.judge.backends import Backend
from routing.judge.backends.circuit import CircuitBreaker
from routing.judge.backends.openai import OpenAIBackend
from routing.judge.backends.simulated import SimulatedBackend
from routing.judge.config import JudgeConfig

from ..models import KEY_PREFIX, Judge

KEY_VARIABLE = re.compile(rf"^{KEY_PREFIX}[A-Z0-9_]{{1,50}}$")
IDENTITY = {"name", "version"}


def checked_config(name: str, version: int, config: Mapping[str, Any]) -> JudgeConfig:
    """The judge's configuration, or InvalidInput with a sentence per field."""
    try:
        parsed = JudgeConfig(name=name, version=version, **{k: v for k, v in config.items() if k not in IDENTITY})
        check_texts(parsed.model_dump(mode="json"))
    except ValidationError as error:
        raise InvalidInput("The judge is not configured right.", errors=_sentences(error)) from error
    except InvalidText as error:
        raise InvalidInput("The judge is not configured right.", errors={error.path: error.reason}) from error
    if parsed.backend == "openai":
        _check_endpoint(parsed.base_url)
    if parsed.backend == "transformers" and parsed.model not in local_models():
        known = ", ".join(local_models()) or "there is none"
        words = f"Choose a model of this installation: {known}."
        raise InvalidInput("The judge is not configured right.", errors={"model": words})
    return parsed


def _sentences(error: ValidationError) -> dict[str, str]:
    return {
        ".".join(str(part) for part in item["loc"]) or "config": item["msg"].removeprefix("Value error, ")
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    }


def _check_members(project: Project, parsed: JudgeConfig) -> None:
    """A panel's members are judges of the same project that are in use, and no panels."""
    found = {}
    for name in parsed.members:
        try:
            found[name] = Judge.objects.current().filter(project=project, public_id=UUID(name)).first()
        except ValueError:
            found[name] = None
    if any(member is None or member.backend == "panel" for member in found.values()):
        words = "Choose members among this project's judges that are in use; a panel cannot be a member."
        raise InvalidInput("The judge is not configured right.", errors={"members": words})


def _check_endpoint(base_url: str) -> None:
    try:
        check_url(base_url, egress_policy())
    except EgressRefused as error:
        raise InvalidInput("The judge's address cannot be used.", errors={"base_url": str(error)}) from error


def egress_policy() -> EgressPolicy:
    return EgressPolicy.from_entries(settings.EGRESS_ALLOW)


def check_key_variable(name: str) -> None:
    """Raises InvalidInput unless ``name`` is empty or one of the variables set aside for judges' keys."""
    if name and not KEY_VARIABLE.match(name):
        raise InvalidInput(
            errors={"api_key_env": f"Name an environment variable that begins with {KEY_PREFIX}, in capitals."}
        )


def create_judge(
    project: Project, name: str, config: Mapping[str, Any], *, actor: User | None, api_key_env: str = ""
) -> Judge:
    """Configure a judge. Raises InvalidInput, Conflict when the name is taken."""
    check_key_variable(api_key_env)
    parsed = checked_config(name.strip(), 1, config)
    _check_members(project, parsed)
    if Judge.objects.filter(project=project, name=parsed.name).exists():
        raise Conflict(f"This project already has a judge named {parsed.name!r}.")
    with transaction.atomic():
        judge = _store(project, parsed, api_key_env, actor)
        AuditEvent.write("judge.create", actor=actor, project=project, subject=str(judge), endpoint=parsed.base_url)
    return judge


def _store(project: Project, parsed: JudgeConfig, api_key_env: str, actor: User | None) -> Judge:
    kind = AnnotatorKind.SIMULATED if parsed.backend == "simulated" else AnnotatorKind.JUDGE
    try:
        with transaction.atomic():
            annotator = Annotator.objects.create(project=project, kind=kind, name=f"{parsed.name} v{parsed.version}")
            return Judge.objects.create(
                project=project,
                annotator=annotator,
                name=parsed.name,
                version=parsed.version,
                config=stored_config(parsed),
                api_key_env=api_key_env,
                created_by=actor,
            )
    except IntegrityError as error:
        raise Conflict("This project already has an annotator of that name.") from error


def stored_config(parsed: JudgeConfig) -> dict[str, Any]:
    return parsed.model_dump(mode="json", exclude=IDENTITY)


def edit_judge(judge: Judge, config: Mapping[str, Any], *, actor: User | None, api_key_env: str | None = None) -> Judge:
    """Change a judge. What changes its answers makes a new version with its own verdicts; prices and limits do not.

    Returns the current version. Raises InvalidInput, WrongState for a version that is no longer current.
    """
    variable = judge.api_key_env if api_key_env is None else api_key_env
    check_key_variable(variable)
    before, parsed = judge.parsed, checked_config(judge.name, judge.version, config)
    _check_members(judge.project, parsed)
    with transaction.atomic():
        if not Judge.objects.select_for_update(no_key=True).filter(pk=judge.pk, retired_at=None).exists():
            raise WrongState("This version of the judge was replaced; edit the newest one.")
        if _answers_alike(before, parsed):
            Judge.objects.filter(pk=judge.pk).update(config=stored_config(parsed), api_key_env=variable)
            current = Judge.objects.get(pk=judge.pk)
        else:
            current = _next_version(judge, parsed, variable, actor)
        AuditEvent.write(
            "judge.edit", actor=actor, project=judge.project, subject=str(current), endpoint=parsed.base_url
        )
    return current


def _answers_alike(before: JudgeConfig, after: JudgeConfig) -> bool:
    reading = ("swap", "tie_band", "samples", "least_agreement")
    same_reading = all(getattr(before, field) == getattr(after, field) for field in reading)
    return same_reading and before.prompt_version == after.prompt_version


def _next_version(judge: Judge, parsed: JudgeConfig, variable: str, actor: User | None) -> Judge:
    Judge.objects.filter(pk=judge.pk).update(retired_at=timezone.now())
    versions = Judge.objects.filter(project=judge.project, name=judge.name)
    newest: int = versions.aggregate(newest=Max("version"))["newest"]
    return _store(judge.project, parsed.model_copy(update={"version": newest + 1}), variable, actor)


def retire_judge(judge: Judge, *, actor: User | None) -> None:
    """Take a judge out of use; its verdicts stay. Raises WrongState when it already is."""
    with transaction.atomic():
        if not Judge.objects.filter(pk=judge.pk, retired_at=None).update(retired_at=timezone.now()):
            raise WrongState("This judge is already out of use.")
        AuditEvent.write("judge.retire", actor=actor, project=judge.project, subject=str(judge))


def api_key_of(judge: Judge) -> str:
    """The key from the environment. Raises WrongState when the named variable is not set where the work runs."""
    if not judge.api_key_env:
        return ""
    key = os.environ.get(judge.api_key_env, "")
    if not key:
        raise WrongState(f"The environment variable {judge.api_key_env} is not set for the worker.")
    return key


@lru_cache(maxsize=1)
def _breaker() -> CircuitBreaker:
    """One circuit breaker per process, so that a second job leaves a failing endpoint alone as well."""
    return CircuitBreaker()


def backend_for(judge: Judge) -> Backend:
    """What answers this judge's calls. Raises WrongState when its key is missing."""
    if judge.backend == "simulated":
        return SimulatedBackend()
    if judge.backend == "transformers":
        return _local(_model_folder(judge.model))
    return OpenAIBackend(egress_policy(), api_key_of(judge), breaker=_breaker())


def local_models() -> dict[str, Path]:
    """The language models of this installation by name: folders under ``MODELS_DIR``."""
    root = Path(settings.MODELS_DIR)
    found = sorted(root.iterdir()) if root.is_dir() else []
    return {path.name: path for path in found if not path.name.startswith(".") and (path / "config.json").is_file()}


def _model_folder(name: str) -> Path:
    # compared with what is listed: no part of a name ever becomes a path
    found = local_models().get(name)
    if found is None:
        raise WrongState(f"There is no model {name!r} among this installation's models.")
    return found


@lru_cache(maxsize=1)
def _local(folder: Path) -> Backend:
    """The model in a folder, kept for the next job. Raises WrongState when it is refused, or torch is not there."""
    try:
        from routing.judge.backends.local import LocalBackend
    except ImportError as error:
        raise WrongState("This worker has no torch; local models need the extra `train`.") from error
    try:
        return LocalBackend(folder)
    except UnsafeFolder as error:
        raise WrongState(str(error)) from error


def micros(amount: Decimal) -> int:
    """An amount of the project's currency in whole millionths, rounded up."""
    return int((amount * MICROS).to_integral_value(rounding=ROUND_UP))
