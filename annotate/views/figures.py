"""Figures of evaluations as pages show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST_SLICES = 120


def accuracy_words(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """An accuracy in words, with its interval."""
    if found is None:
        return None
    interval = f"{found['low']:.2f}–{found['high']:.2f}" if found.get("low") is not None else ""
    return {"value": f"{found['accuracy']:.3f}", "interval": interval, "pairs": found["pairs"]}


def slice_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The slices of a report as rows of a table."""
    return [
        {"by": by.replace("_", " "), "name": name, "figures": figures}
        for by, groups in report.get("slices", {}).items()
        for name, figures in groups.items()
        if figures.get("accuracy") is not None
    ][:MOST_SLICES]


def reliability_chart(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """How often a model is right where it states how sure it is, beside what would be perfect."""
    bins = report.get("reliability")
    if not bins:
        return None
    return {
        "series": [
            {"name": "Model", "points": [[one["confidence"], one["accuracy"]] for one in bins]},
            {"name": "As stated", "points": [[0.5, 0.5], [1, 1]], "tone": "muted", "dash": True},
        ],
        "done": True,
    }


def section_bars(benchmark: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A benchmark's sections as bars."""
    return [
        {"label": name, "value": value, "words": f"{value:.3f}"}
        for name, value in benchmark["sections"].items()
        if value is not None
    ]
