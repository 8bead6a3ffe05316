"""A plan's choice of source for each instance, kept as a preference mix that versions are frozen from."""

from __future__ import annotations

from feedback.models import DatasetVersion, PreferenceMix

from ..models import Arm, RoutingPlan


def keep_mix(plan: RoutingPlan) -> PreferenceMix:
    """The plan's choice of source for each instance as a preference mix; the one it has, once it was kept."""
    return plan.mix or _new(plan)


def follow(plan: RoutingPlan) -> PreferenceMix:
    """The mix as the plan stands now. One that a dataset version was frozen from stays as it is beside a new one."""
    mix = plan.mix
    if mix is None or DatasetVersion.objects.filter(mix=mix).exists():
        return _new(plan)
    mix.name, mix.sources, mix.features = _name(plan), _sources(plan), _features(plan)
    mix.save(update_fields=["name", "sources", "features"])
    return mix


def _new(plan: RoutingPlan) -> PreferenceMix:
    plan.mix = PreferenceMix.objects.create(
        task=plan.task, name=_name(plan), origin=plan.origin, sources=_sources(plan), features=_features(plan)
    )
    RoutingPlan.objects.filter(pk=plan.pk).update(mix=plan.mix)
    return plan.mix


def _name(plan: RoutingPlan) -> str:
    return f"{plan.strategy}, {plan.share('human'):.0%} people"


def _sources(plan: RoutingPlan) -> dict[str, str]:
    chosen = plan.decisions.current().exclude(arm=Arm.NONE).values_list("instance__public_id", "arm")
    return {str(public_id): arm for public_id, arm in chosen.iterator(chunk_size=2000)}


def _features(plan: RoutingPlan) -> dict[str, float]:
    return {"human_share": plan.share("human"), "budget_micros": plan.budget_micros}
