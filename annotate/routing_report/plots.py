"""Plots as inline SVG: lines with their band, colours that hold on light and dark, nothing loaded."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

COLOURS = ("#5b5bd6", "#0f766e", "#b45309", "#be185d", "#4d7c0f", "#64748b", "#7c3aed", "#0284c7")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 300, 48, 150, 12, 36
TICKS = 5


@dataclass(frozen=True)
class Point:
    """A place on a line, x in 0…1, with the ends of its interval."""

    x: float
    y: float
    low: float
    high: float


def line_plot(caption: str, series: Mapping[str, Sequence[Point]], unit: str = "") -> str:
    """A figure with one line for each name: x is the share offered, y its own scale. Empty without a finite point."""
    kept = {name: [p for p in points if isfinite(p.y)] for name, points in series.items()}
    kept = {name: points for name, points in kept.items() if points}
    if not kept:
        return ""
    bounds = [value for points in kept.values() for p in points for value in (p.low, p.high, p.y) if isfinite(value)]
    margin = max((max(bounds) - min(bounds)) * 0.05, 1e-6)
    low, high = min(bounds) - margin, max(bounds) + margin

    def x(share: float) -> float:
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(caption)}">']
    for tick in range(TICKS):
        value = low + (high - low) * tick / (TICKS - 1)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{x(1):.0f}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.2f}</text>')
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<text x="{x(share):.0f}" y="{HEIGHT - 16}" text-anchor="middle">{share:.0%}</text>')
    for number, (name, points) in enumerate(kept.items()):
        colour = COLOURS[number % len(COLOURS)]
        banded = [p for p in points if isfinite(p.low) and isfinite(p.high)]
        around = [(p.x, p.high) for p in banded] + [(p.x, p.low) for p in reversed(banded)]
        shape = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in around)
        path = " ".join(f"{x(p.x):.1f},{y(p.y):.1f}" for p in points)
        parts.append(f'<polygon points="{shape}" fill="{colour}" opacity=".10"/>' if len(banded) > 1 else "")
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(p.x):.1f}" cy="{y(p.y):.1f}" r="3" fill="{colour}"/>' for p in points]
        parts.append(f'<rect x="{x(1) + 12:.0f}" y="{TOP + 18 * number}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x(1) + 28:.0f}" y="{TOP + 18 * number + 9}">{html.escape(name)}</text>')
    return f"<figure><figcaption>{html.escape(caption)} {html.escape(unit)}</figcaption>{''.join(parts)}</svg></figure>"
