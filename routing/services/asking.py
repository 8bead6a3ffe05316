"""One judge put before one task: what it is asked, of which texts, and what a verdict can cost at most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Self

from feedback.content import text_of
from feedback.exceptions import InvalidInput, WrongState
from feedback.models import Instance, Task
from feedback.questions import MAX_TEXT
from routing.judge.asking import Ask, Material, ask_of, fits, parts_of, united
from routing.judge.config import JudgeConfig, Order, orders_for
from routing.judge.cost import cache_key, worst_case_cost
from routing.judge.prompts import build_prompt

from ..models import Judge
from .corrections import Corrections
from .judges import micros


@dataclass(frozen=True)
class Call:
    """A call to make: the order of the completions, the sample, the one completion that it shows, if it shows one; or
    the ``dimension`` in which it tags the prompt."""

    order: Order = "ab"
    sample: int = 0
    part: int | None = None
    dimension: str = ""


@dataclass(frozen=True)
class Asking:
    """How a judge is configured, what of the task's questions it answers, and the decisions it learns from."""

    judge: Judge
    config: JudgeConfig
    ask: Ask
    corrections: Corrections | None

    @classmethod
    def of(cls, judge: Judge, task: Task) -> Self:
        """Raises InvalidInput when the task asks nothing that this judge answers."""
        config = judge.parsed
        try:
            ask = ask_of(config, task.parsed_questions)
        except ValueError as error:
            raise InvalidInput(str(error)) from error
        return cls(judge, config, ask, Corrections(task) if config.examples else None)

    def material(self, instance: Instance) -> Material | None:
        """The instance as this judge is shown it; ``None`` when it cannot be asked about it."""
        material = Material(
            prompt=tuple({"role": str(m["role"]), "content": text_of(m["content"])} for m in instance.prompt),
            completions=tuple(instance.completion_texts()),
            reference=_reference(instance.meta, self.config.reference_field)
            if self.config.shape == "reference"
            else "",
            examples=self.corrections.nearest(instance, self.config.examples) if self.corrections else (),
        )
        return material if fits(self.config, material) else None

    def wanted(self, material: Material) -> dict[str, Call]:
        """Cache key → call, of every call that a verdict needs."""
        content = material.content()
        return {
            cache_key(self.config, self.ask, content, order, sample, part): Call(order, sample, part)
            for order in orders_for(self.config, content)
            for sample in range(1 if self.config.shape == "follow-up" else self.config.samples)
            for part in parts_of(self.config, material)
        }

    def worst_case_micros(self, material: Material) -> int:
        """The most that one call about this instance can cost."""
        sent = build_prompt(self.config, self.ask, material, "ab", Random(0)).sent_bytes
        return micros(worst_case_cost(self.config, sent))

    def most_for(self, material: Material) -> int:
        """The most that a verdict on it can cost, all orders, samples and completions."""
        return self.worst_case_micros(material) * len(self.wanted(material))


def _reference(meta: Mapping[str, Any], field: str) -> str:
    value = meta.get(field) if isinstance(meta, dict) else None
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def askings(judge: Judge, task: Task) -> list[Asking]:
    """Who is really asked: the judge, or the members of a panel. Raises InvalidInput, WrongState."""
    asked = [Asking.of(member, task) for member in members_of(judge)]
    try:
        united([one.ask for one in asked])
    except ValueError as error:
        raise InvalidInput(str(error)) from error
    return asked


def members_of(judge: Judge) -> list[Judge]:
    """The members of a panel in their order, or the judge itself. Raises WrongState when one is out of use."""
    names = judge.parsed.members
    if not names:
        return [judge]
    found = {str(j.public_id): j for j in Judge.objects.filter(project=judge.project_id, public_id__in=names)}
    for name in names:
        if name not in found or found[name].retired_at is not None:
            gone = str(found[name]) if name in found else "A member"
            raise WrongState(f"{gone} of the panel {judge} is out of use; choose its members anew.")
    return [found[name] for name in names]


def worst_cases(judge: Judge, task: Task, instances: Iterable[Instance]) -> dict[int, int]:
    """The most that a verdict on each instance can cost in micros; 0 where the judge cannot be asked."""
    asked = askings(judge, task)
    worst = {}
    for instance in instances:
        materials = [(one, one.material(instance)) for one in asked]
        worst[instance.pk] = sum(one.most_for(material) for one, material in materials if material)
    return worst
