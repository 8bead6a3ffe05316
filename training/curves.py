"""A run's metrics as curves to draw: long ones are averaged into steps of equal width, with the range beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Avg, F, Max, Min

from .models import Metric, Run

POINTS = 400
GROUPS = {
    "loss": ("loss", "eval_loss"),
    "accuracy": ("accuracy", "eval_accuracy"),
    "margin": ("margin", "eval_margin"),
    "speed": ("tokens_per_second",),
}
COMPARED = {
    "loss": "Training loss",
    "eval_loss": "Held-out loss",
    "eval_accuracy": "Held-out accuracy",
    "margin": "Reward margin",
}
WORDS = {
    "loss": "Training",
    "eval_loss": "Held out",
    "accuracy": "Training",
    "eval_accuracy": "Held out",
    "margin": "Training",
    "eval_margin": "Held out",
    "tokens_per_second": "Tokens per second",
}


def curves(run: Run, group: str = "", points: int = POINTS) -> list[dict[str, Any]]:
    """Series ``{"name", "metric", "points": [[step, value], …], "band"?: [[step, low, high], …]}`` of a run.

    ``group`` is one of GROUPS, or empty for every metric. A curve of more than ``points`` steps is given as means over
    equal numbers of steps, drawn at the last of them, and its band as their least and greatest value.
    """
    metrics = run.metrics.filter(name__in=GROUPS[group]) if group else run.metrics.all()
    last = metrics.aggregate(last=Max("step"))["last"] or 0
    width = -(-last // points) or 1
    rows = (
        metrics.annotate(place=(F("step") - 1) / width)
        .values("name", "place")
        .annotate(at=Max("step"), mean=Avg("value"), low=Min("value"), high=Max("value"))
        .order_by("name", "place")
    )
    series: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = row["name"]
        one = series.setdefault(name, {"name": WORDS.get(name, name), "metric": name, "points": [], "band": []})
        one["points"].append([row["at"], row["mean"]])
        one["band"].append([row["at"], row["low"], row["high"]])
    for one in series.values():
        if width == 1:
            del one["band"]
    order = GROUPS.get(group, ())
    return sorted(series.values(), key=lambda one: order.index(one["metric"]) if one["metric"] in order else 99)


def overlaid(runs: Sequence[Run], metric: str, points: int = POINTS) -> list[dict[str, Any]]:
    """One metric of several runs, as ``curves`` gives it without bands; each series is named after its run."""
    metrics = Metric.objects.filter(run__in=runs, name=metric)
    last = metrics.aggregate(last=Max("step"))["last"] or 0
    width = -(-last // points) or 1
    rows = (
        metrics.annotate(place=(F("step") - 1) / width)
        .values("run", "place")
        .annotate(at=Max("step"), mean=Avg("value"))
        .order_by("run", "place")
    )
    found: dict[int, list[list[float]]] = {run.pk: [] for run in runs}
    for row in rows:
        found[row["run"]].append([row["at"], row["mean"]])
    return [{"name": str(run), "metric": metric, "points": found[run.pk]} for run in runs]
