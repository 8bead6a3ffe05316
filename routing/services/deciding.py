"""A strategy's answer as decisions: who labels each instance, and why in words and figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routing.features.wording import words_of
from routing.ppm.pool import Arm as PlanArm
from routing.ppm.pool import Plan, Pool, Source
from routing.ppm.reasons import TagEffect, tag_effects, top_tags

from ..models import RoutingDecision, RoutingPlan

Floats = NDArray[np.float64]

ARMS = {Source.HUMAN: "human", Source.JUDGE: "judge", Source.NONE: "none"}
LEAST_TAGGED = 10
TAGS_SHOWN = 14
MOST_WORDS = 300


@dataclass(frozen=True)
class Worth:
    """What a person's label is worth at each instance [N], as a share of right labels: mean and 90% interval."""

    mean: Floats
    lower: Floats
    upper: Floats


def worth_of(pool: Pool) -> Worth | None:
    """People's advantage over the judge, where the pilot taught it."""
    adv = pool.advantage
    return None if adv is None else Worth(adv.mean, adv.lower, adv.upper)


def effects_of(pool: Pool, worth: Worth | None) -> list[TagEffect]:
    """How each tag's instances stand out in what people add."""
    if worth is None:
        return []
    return tag_effects(worth.mean, worth.lower, worth.upper, pool.tags, pool.tag_names)


def gain_by_tag(effects: list[TagEffect]) -> list[dict[str, Any]]:
    """The widest tags of a plan's page; those that hardly any instance carries are left out."""
    rows = [one for one in effects if one.count >= LEAST_TAGGED]
    shown = sorted(rows, key=lambda one: -abs(one.mean))[:TAGS_SHOWN]
    return [{"tag": one.tag, "count": one.count, "mean": one.mean, "low": one.low, "high": one.high} for one in shown]


def decisions_of(
    plan: RoutingPlan,
    ids: tuple[int, ...],
    pool: Pool,
    answer: Plan,
    worth: Worth | None,
    *,
    labels: int,
    p_a: Floats | None = None,
    reasons: dict[int, str] | None = None,
    arms: tuple[PlanArm, ...] = (),
) -> list[RoutingDecision]:
    """One decision an instance. ``reasons`` replace the strategy's own by row; ``p_a`` [N] is what is believed. With
    ``arms`` (as the answer numbers them) a decision names its own, and asks for that one's labels."""
    tops = top_tags(effects_of(pool, worth), pool.tags, pool.tag_names)
    said = reasons or {}
    rows = []
    for row, pk in enumerate(ids):
        arm = ARMS[Source(int(answer.arm[row]))]
        own = arms[int(answer.choice[row])] if arms and answer.choice[row] >= 0 else None
        details: dict[str, Any] = {"tags": [[name, round(size, 4)] for name, size in tops[row]]}
        if p_a is not None and np.isfinite(p_a[row]):
            details["p_a"] = round(float(p_a[row]), 4)
        rows.append(
            RoutingDecision(
                plan=plan,
                instance_id=pk,
                arm=arm,
                arm_name=own.name if own else "",
                n_labels={"human": own.n_labels if own else labels, "judge": 1, "none": 0}[arm],
                score=float(answer.score[row]),
                propensity=float(np.clip(answer.propensity[row], 0.0, 1.0)),
                reason=with_tags(said.get(row, answer.reason(row)), tops[row]),
                details=details,
                **_bounds(answer, worth, row),
            )
        )
    return rows


def _bounds(answer: Plan, worth: Worth | None, row: int) -> dict[str, float | None]:
    """The interval of the score, where the score is what people add; else its lower bound, where there is one."""
    if worth is not None and np.isclose(answer.score[row], worth.mean[row]):
        return {"lower": _share(worth.lower[row]), "upper": _share(worth.upper[row])}
    return {"lower": None if answer.lower is answer.score else _share(answer.lower[row]), "upper": None}


def _share(value: float) -> float:
    return float(np.clip(value, -1.0, 1.0))


def with_tags(reason: str, top: list[tuple[str, float]]) -> str:
    """A reason with the tags that speak most for it, or against."""
    if not top:
        return reason[:MOST_WORDS]
    told = ", ".join(f"{words_of(name)} ({100 * size:+.1f})" for name, size in top)
    return f"{reason} Its tags: {told}."[:MOST_WORDS]
