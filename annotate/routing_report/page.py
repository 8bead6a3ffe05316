"""The routing report: tables for the terminal, the same numbers as JSON, and a page that stands alone."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Iterable, Sequence
from math import isnan
from pathlib import Path
from typing import Any

from annotate.loop.report import STYLE

from .replaying import Interval, ReplayLine
from .simulating import SimulatedLine

REPLAY_HEADINGS = ("strategy", "offered", "bought", "labels right", "over random at equal spend", "")
WORLD_HEADINGS = ("strategy", "offered", "bought", "reward model", "over random", "")
Cells = tuple[str, ...]


def interval(one: Interval, *, points: bool) -> str:
    """`.843 [.820, .866]`, or in points with a sign."""
    if points:
        return f"{100 * one.value:+.1f} [{100 * one.low:+.1f}, {100 * one.high:+.1f}]"
    return f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"


def told_apart(low: float, high: float) -> str:
    """What can be said of a difference with this interval."""
    return "better" if low > 0 else "worse" if high < 0 else "not told apart"


def replay_cells(line: ReplayLine) -> Cells:
    """One line of a set's table."""
    judged = line.strategy == "all_judge"
    return (
        line.strategy,
        f"{line.offered:.0%}",
        f"{line.spent:.0%}",
        interval(line.right, points=False),
        "" if judged else interval(line.gain, points=True),
        "" if judged else told_apart(line.gain.low, line.gain.high),
    )


def world_cells(line: SimulatedLine) -> Cells:
    """One line of the simulation's table: mean over worlds ± standard error."""
    spread = 1.96 * line.standard_error
    shown = line.strategy != "random" and not isnan(spread)
    return (
        line.strategy,
        f"{line.offered:.0%}",
        f"{line.spent:.0%}",
        f"{line.score:.3f}",
        f"{line.gain:+.2f} ± {line.standard_error:.2f}" if shown else "",
        told_apart(line.gain - spread, line.gain + spread) if shown else "",
    )


def text_table(headings: Cells, rows: Iterable[Cells]) -> str:
    """Columns aligned, for a terminal."""
    cells = [headings, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in cells)


def _html_table(headings: Cells, rows: Iterable[Cells]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in headings)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def heading_of(line: ReplayLine) -> str:
    """A set's heading: the routed judge and what else is known."""
    return f"{line.data}, {line.judge} routed, {'every judge' if line.panel else 'it alone'} as evidence"


def by_case(lines: Sequence[ReplayLine]) -> dict[str, list[ReplayLine]]:
    """The lines of each table, in order."""
    found: dict[str, list[ReplayLine]] = {}
    for line in lines:
        found.setdefault(heading_of(line), []).append(line)
    return found


def facts_of(line: ReplayLine) -> str:
    """What a table rests on."""
    return (
        f"{line.instances:,} instances of {line.prompts:,} prompts, {line.scored:,} with a truth; the better pure "
        f"source is right on {line.best_pure:.3f} of them."
    )


def page(worlds: Sequence[SimulatedLine], replays: Sequence[ReplayLine], facts: dict[str, Any]) -> str:
    """One HTML document, light and dark, nothing loaded from elsewhere."""
    parts = []
    for heading, lines in by_case(replays).items():
        table = _html_table(REPLAY_HEADINGS, map(replay_cells, lines))
        parts.append(f'<h2>{html.escape(heading)}</h2><p class="soft">{html.escape(facts_of(lines[0]))}</p>{table}')
    if not parts:
        parts.append("<h2>Recorded sets</h2><p>None was given: name their folders with <code>--data</code>.</p>")
    told = _html_table(("", ""), [(name, str(value)) for name, value in facts.items()])
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Routing report</title><style>{STYLE}</style></head><body>
<h1>Routing report</h1>
<p class="soft">Where people should label: measured in simulated worlds, and on recorded sets with every label paid.</p>
<h2>Simulated worlds</h2>
<p class="soft">Accuracy of a ridge reward model on gold pairs; points over random with the standard error over worlds.
It is synthetic: the recorded sets below say more.</p>
{_html_table(WORLD_HEADINGS, map(world_cells, worlds))}
{"".join(parts)}
<h2>How to read this</h2>
<p><b>Labels right</b>: of the instances whose other people agree on a side by more than half, the share whose final
label names it (an even chance counts half). A bought label is one person's, drawn, and is never among those others;
where a set has one adjudicated label, that is both. <b>Over random</b>: against buying the same number of labels at
random, item by item. Intervals are 95% by bootstrap over prompts, all draws and seeds of a prompt together; “not told
apart” means that the interval holds zero. <b>oracle</b> knows where the person is right and the judge is not: the
ceiling of choosing between the two labels, which combining them can pass.</p>
<h2>What was done</h2>{told}
</body></html>
"""


def write(
    folder: Path, worlds: Sequence[SimulatedLine], replays: Sequence[ReplayLine], facts: dict[str, Any]
) -> tuple[Path, Path]:
    """``routing.html`` and ``routing.json`` in the folder, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {
        "facts": facts,
        "simulation": [one.as_row() for one in worlds],
        "replay": [one.as_row() for one in replays],
    }
    # NaN is not JSON: a standard error over one world is null
    text = json.dumps(known, indent=1, default=str).replace("NaN", "null")
    paths = folder / "routing.html", folder / "routing.json"
    for path, content in zip(paths, (page(worlds, replays, facts), text), strict=True):
        part = path.with_name(f"{path.name}.part")
        part.write_text(content, encoding="utf-8")
        os.replace(part, path)
    return paths
