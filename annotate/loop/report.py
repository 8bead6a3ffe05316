"""The loop's report: a table for the terminal, and a page with plots that stands alone."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Any

from .outcomes import Estimate, Line

HEADINGS = (
    *("strategy", "offered", "people", "spent", "labels right", "labels over random"),
    *("reward model", "model over random", "its labels"),
)
COLOURS = ("#5b5bd6", "#0f766e", "#b45309", "#be185d", "#4d7c0f", "#475569", "#7c3aed")


def table(lines: Sequence[Line]) -> str:
    """The lines as text, columns aligned."""
    cells = [HEADINGS, *(_cells(line) for line in lines)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in cells)


def _cells(line: Line) -> tuple[str, ...]:
    return (
        line.strategy,
        f"{line.share:.0%}",
        f"{line.human_share:.0%}",
        f"{line.cost:,.2f} {line.currency}",
        _accuracy(line.labels),
        _points(line.labels_over_random),
        _accuracy(line.held_out),
        _points(line.held_out_over_random),
        line.verdict,
    )


def _accuracy(estimate: Estimate) -> str:
    if isnan(estimate.value):
        return ""
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _points(estimate: Estimate | None) -> str:
    if estimate is None or isnan(estimate.value):
        return ""
    return f"{100 * estimate.value:+.1f} [{100 * estimate.low:+.1f}, {100 * estimate.high:+.1f}]"


STYLE = """
:root { color-scheme: light dark; --ink: #1f1d1a; --soft: #6b675f; --line: #e4e1da; --page: #fbfaf7; --card: #fff }
@media (prefers-color-scheme: dark) { :root { --ink: #ece9e2; --soft: #a19c92; --line: #35322c; --page: #171512;
  --card: #1f1d19 } }
body { font: 16px/1.6 ui-sans-serif, system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 70rem; margin: 3rem auto; padding: 0 1.25rem }
h1 { font-size: 28px; margin: 0 } h2 { font-size: 18px; margin: 2.5rem 0 .5rem } p { max-width: 42rem }
.soft { color: var(--soft); font-size: 14px }
.wide { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 10px }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums }
th, td { text-align: start; padding: .5rem .75rem; border-top: 1px solid var(--line); white-space: nowrap }
thead th { border-top: 0; color: var(--soft); font-weight: 600 }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem }
figcaption { font-weight: 600; font-size: 14px; margin-bottom: .5rem }
svg text { fill: var(--soft); font-size: 11px } svg .grid { stroke: var(--line) } svg { width: 100%; height: auto }
"""


def page(lines: Sequence[Line], facts: dict[str, Any]) -> str:
    """One HTML document: what was done, the table, plots of labels and reward models, and how to read them."""
    title = f"The loop on {facts['data']}"
    rows = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in _cells(line))}</tr>" for line in lines)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in HEADINGS)
    told = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(text))}</td></tr>" for name, text in facts.items()
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>
<h1>{html.escape(title)}</h1>
<p class="soft">Recorded people and a recorded judge, replayed through the services that serve the pages.</p>
<div class="plots">{plot("Labels right", lines, "labels")}
{plot("Reward model on held-out prompts", lines, "held_out")}</div>
<h2>Each strategy at each budget</h2>
<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>
<h2>How to read this</h2>
<p><b>Labels right</b>: of the pool's instances where at least two people annotated and the others agree on a side, the
share whose label under the mix is that side (a tie counts half). A bought label is one person's, drawn by the seed, and
is never among those others. <b>Reward model</b>: trained on the mix, it ranks this share of the held-out pairs as the
majority of people does. Intervals are 95%, by bootstrap over prompts within each seed. <b>Over random</b> compares with
random routing at the same offered budget, item by item; “not told apart” means that the interval holds zero.
<b>Spent</b> counts the pilot's labels too, for every strategy alike.</p>
<h2>What was done</h2><div class="wide"><table><tbody>{told}</tbody></table></div>
</body></html>
"""


def plot(caption: str, lines: Sequence[Line], measure: str) -> str:
    """A figure: share of people on x, ``measure`` on y with its interval, one colour for each strategy."""
    estimates = [(line, getattr(line, measure)) for line in lines]
    seen = [estimate for _, estimate in estimates if not isnan(estimate.value)]
    if not seen:
        return ""
    low, high = min(one.low for one in seen), max(one.high for one in seen)
    margin = max((high - low) * 0.08, 0.01)
    frame = Frame(low - margin, high + margin)
    names = list(dict.fromkeys(line.strategy for line in lines))
    drawn = "".join(_series(name, COLOURS[i % len(COLOURS)], estimates, frame) for i, name in enumerate(names))
    return f"<figure><figcaption>{html.escape(caption)}</figcaption>{frame.open()}{drawn}</svg></figure>"


class Frame:
    """Axes of a plot: x is the share of people from 0 to 1, y runs from ``low`` to ``high``."""

    WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 304, 44, 120, 10, 40

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def x(self, share: float) -> float:
        return self.LEFT + share * (self.WIDTH - self.LEFT - self.RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.HEIGHT - self.BOTTOM - share * (self.HEIGHT - self.TOP - self.BOTTOM)

    def open(self) -> str:
        ticks = [self.low + (self.high - self.low) * i / 4 for i in range(5)]
        across = "".join(
            f'<line class="grid" x1="{self.LEFT}" x2="{self.x(1):.0f}" y1="{self.y(t):.1f}" y2="{self.y(t):.1f}"/>'
            f'<text x="{self.LEFT - 6}" y="{self.y(t) + 4:.1f}" text-anchor="end">{t:.2f}</text>'
            for t in ticks
        )
        below = "".join(
            f'<text x="{self.x(s):.0f}" y="{self.HEIGHT - 22}" text-anchor="middle">{s:.0%}</text>'
            for s in (0, 0.25, 0.5, 0.75, 1)
        )
        label = f'<text x="{self.x(0.5):.0f}" y="{self.HEIGHT - 6}" text-anchor="middle">labelled by people</text>'
        return f'<svg viewBox="0 0 {self.WIDTH} {self.HEIGHT}" role="img">{across}{below}{label}'


def _series(name: str, colour: str, estimates: Sequence[tuple[Line, Estimate]], frame: Frame) -> str:
    points = sorted(
        ((line.human_share, one) for line, one in estimates if line.strategy == name and not isnan(one.value)),
        key=lambda point: point[0],
    )
    if not points:
        return ""
    path = " ".join(f"{frame.x(share):.1f},{frame.y(one.value):.1f}" for share, one in points)
    marks = "".join(
        f'<line stroke="{colour}" stroke-opacity=".45" x1="{frame.x(share):.1f}" x2="{frame.x(share):.1f}" '
        f'y1="{frame.y(one.low):.1f}" y2="{frame.y(one.high):.1f}"/>'
        f'<circle fill="{colour}" r="3.5" cx="{frame.x(share):.1f}" cy="{frame.y(one.value):.1f}"/>'
        for share, one in points
    )
    share, last = points[-1]
    label = f'<text x="{frame.x(share) + 8:.1f}" y="{frame.y(last.value) + 4:.1f}">{html.escape(name)}</text>'
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{path}"/>{marks}{label}'


def write(folder: Path, lines: Sequence[Line], facts: dict[str, Any]) -> Path:
    """Write ``loop.html`` and ``loop.json`` into ``folder``; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {"facts": facts, "lines": [asdict(line) | {"verdict": line.verdict} for line in lines]}
    (folder / "loop.json").write_text(json.dumps(numbers, indent=1, default=str), encoding="utf-8")
    path = folder / "loop.html"
    path.write_text(page(lines, facts), encoding="utf-8")
    return path
