"""The routing report: tables for the terminal, the same numbers as JSON, and a page that stands alone."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Any

from annotate.loop.report import STYLE

from .claims import ClaimLine
from .gaining import GainLine
from .plots import Point, line_plot
from .predicting import PredictionLine
from .replaying import Interval, ReplayLine
from .replicating import ReplicationLine
from .simulating import SimulatedLine

Cells = tuple[str, ...]
REPLAY_HEADINGS = ("strategy", "offered", "bought", "labels right", "over random at equal spend", "")
WORLD_HEADINGS = ("strategy", "offered", "bought", "reward model", "over random", "", "worst world", "below random")
PREDICTION_HEADINGS = ("what predicts", "ρ at equal budget", "ρ over all", "error", "in its 80%", "in its 95%")
CLAIM_HEADINGS = ("claim", "figure", "value", "holds")
REPLICATION_HEADINGS = ("set", "judge", "ρ between halves", "95% of halvings", "gp's ρ on the other half")
GAIN_HEADINGS = ("set", "judge", "instances with", "count", "people over the judge", "")
# In this order, so that a strategy has one colour in every plot.
PLOTTED = ("adaptive_advantage", "ppm_guided", "disagreement", "hyper_topk", "all_human", "oracle", "random")
PLOT_STYLE = """
figure { overflow-x: auto; margin-bottom: 1rem } figure svg { min-width: 32rem; max-width: 46rem }
"""


@dataclass(frozen=True)
class Results:
    """Everything that the report measured."""

    worlds: Sequence[SimulatedLine]
    predictions: Sequence[PredictionLine]
    claims: Sequence[ClaimLine]
    replays: list[ReplayLine]
    replications: list[ReplicationLine]
    gains: list[GainLine]

    def as_json(self) -> dict[str, Any]:
        """Rows by part."""
        return {
            "simulation": [one.as_row() for one in self.worlds],
            "prediction": [one.as_row() for one in self.predictions],
            "claims": [one.as_row() for one in self.claims],
            "replay": [one.as_row() for one in self.replays],
            "replication": [one.as_row() for one in self.replications],
            "gains": [one.as_row() for one in self.gains],
        }


@dataclass(frozen=True)
class Section:
    """One table of the report with its heading, what it rests on, and its plots."""

    title: str
    note: str
    headings: Cells
    rows: Sequence[Cells]
    plots: Sequence[str] = field(default=())

    def text(self) -> str:
        """For a terminal."""
        return f"\n{self.title}\n{self.note}\n{text_table(self.headings, self.rows)}"

    def html(self) -> str:
        """For the page."""
        plots = f'<div class="plots">{"".join(self.plots)}</div>' if any(self.plots) else ""
        note = f'<p class="soft">{html.escape(self.note)}</p>'
        return f"<h2>{html.escape(self.title)}</h2>{note}{plots}{_html_table(self.headings, self.rows)}"


def sections_of(results: Results) -> list[Section]:
    """The report's tables in their order."""
    return [
        _worlds(results.worlds),
        Section(
            "Predicting mixes",
            "Simulated. Rank correlation at equal budget says what a model knows of mixes; over all budgets, mostly "
            "what the budget alone says. Tested on mixes and pairs that nothing was fitted on; ± over worlds.",
            PREDICTION_HEADINGS,
            [prediction_cells(line) for line in results.predictions],
        ),
        Section(
            "The paper's claims", "Simulated; ± over worlds.", CLAIM_HEADINGS, [claim_cells(c) for c in results.claims]
        ),
        *(_replay(heading, lines) for heading, lines in by_case(results.replays).items()),
        *_real_mixes(results),
    ]


def _worlds(lines: Sequence[SimulatedLine]) -> Section:
    known = {line.strategy for line in lines} - {"random"}
    names = [name for name in PLOTTED if name in known]
    series = {name: [_world_point(line) for line in lines if line.strategy == name] for name in names}
    return Section(
        "Simulated worlds",
        "Accuracy of a ridge reward model on gold pairs; points over random with the standard error over worlds. "
        "“Below random”: worlds in which the mean over seeds is more than one standard error under random. It is "
        "synthetic: the recorded sets below say more.",
        WORLD_HEADINGS,
        [world_cells(line) for line in lines],
        [line_plot("Points over random", series, "by budget")],
    )


def _world_point(line: SimulatedLine) -> Point:
    spread = 1.96 * line.standard_error
    return Point(line.offered, line.gain, line.gain - spread, line.gain + spread)


def _replay(heading: str, lines: Sequence[ReplayLine]) -> Section:
    series = {
        name: [
            Point(one.offered, one.right.value, one.right.low, one.right.high) for one in lines if one.strategy == name
        ]
        for name in PLOTTED
        if any(line.strategy == name for line in lines)
    }
    rows = [replay_cells(line) for line in lines]
    return Section(heading, facts_of(lines[0]), REPLAY_HEADINGS, rows, [line_plot("Labels right", series, "by budget")])


def _real_mixes(results: Results) -> list[Section]:
    if not results.replications:
        return []
    return [
        Section(
            "Do mixes' scores replicate on real text?",
            "Reward models of mixes of one size, scored on two halves of held-out prompts. Where the halves do not "
            "rank them alike, a model of mixes cannot be judged, and none is.",
            REPLICATION_HEADINGS,
            [replication_cells(line) for line in results.replications],
        ),
        Section(
            "Where people gain",
            "How much more often a person's label names the truth than the judge's, by tag; 95% over prompts.",
            GAIN_HEADINGS,
            [gain_cells(line) for line in results.gains],
        ),
    ]


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
        f"{line.worst:+.2f}" if shown else "",
        f"{line.below} of {line.worlds}" if shown else "",
    )


def _number(value: float, form: str) -> str:
    return "" if isnan(value) else format(value, form)


def prediction_cells(line: PredictionLine) -> Cells:
    """One line of the table of predictions."""
    error = "" if isnan(line.standard_error) else f" ± {line.standard_error:.2f}"
    return (
        line.model,
        f"{line.within_budget_rho:.2f}{error}",
        _number(line.overall_rho, ".2f"),
        _number(line.rmse, ".4f"),
        _number(line.coverage80, ".0%"),
        _number(line.coverage95, ".0%"),
    )


def claim_cells(line: ClaimLine) -> Cells:
    """One line of the claims."""
    return line.claim, line.figure, f"{line.value:+.2f} ± {line.standard_error:.2f}", line.holds


def replication_cells(line: ReplicationLine) -> Cells:
    """One line of the table of replication."""
    skill = "not judged: the scores do not replicate" if line.skill is None else f"{line.skill:.2f}"
    return line.data, line.judge, f"{line.replication:+.2f}", f"{line.low:+.2f} to {line.high:+.2f}", skill


def gain_cells(line: GainLine) -> Cells:
    """One line of the table of gains."""
    apart = told_apart(line.gain.low, line.gain.high)
    return line.data, line.judge, line.tag, f"{line.instances:,}", interval(line.gain, points=True), apart


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


def page(results: Results, facts: dict[str, Any]) -> str:
    """One HTML document, light and dark, nothing loaded from elsewhere."""
    parts = [section.html() for section in sections_of(results)]
    if not results.replays:
        parts.append("<h2>Recorded sets</h2><p>None was given: name their folders with <code>--data</code>.</p>")
    told = _html_table(("", ""), [(name, str(value)) for name, value in facts.items()])
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Routing report</title><style>{STYLE}{PLOT_STYLE}</style></head><body>
<h1>Routing report</h1>
<p class="soft">Where people should label: measured in simulated worlds, and on recorded sets with every label paid.</p>
{"".join(parts)}
<h2>How to read this</h2>
<p><b>Labels right</b>: of the instances whose other people agree on a side by more than half, the share whose final
label names it (an even chance counts half). A bought label is one person's, drawn, and is never among those others;
where a set has one adjudicated label, that is both. <b>Over random</b>: against buying the same number of labels at
random, item by item. Intervals are 95% by bootstrap over prompts, all draws and seeds of a prompt together; “not told
apart” means that the interval holds zero. <b>oracle</b> knows where the person is right and the judge is not: the
ceiling of choosing between the two labels, which combining them can pass. <b>adv_topk</b>, <b>ppm_guided</b> and
<b>hyper_*</b> pay a random pilot of a tenth (at least 60) first; <b>adaptive_advantage</b> needs none.</p>
<p>What is real here: differences marked “better” or “worse” on the recorded sets. What is not: anything “not told
apart”, any ranking of mixes where their scores do not replicate, and gains in simulated worlds, which are drawn so that
there is something to gain. The constants of <b>adaptive_advantage</b> (sizes of rounds, priors, the two rules that end
it) were chosen with these same recorded sets in sight, so its figures there are somewhat flattering; on a set of your
own, <code>route_replay</code> says what holds.</p>
<h2>What was done</h2>{told}
</body></html>
"""


def write(folder: Path, results: Results, facts: dict[str, Any]) -> tuple[Path, Path]:
    """``routing.html`` and ``routing.json`` in the folder, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    # NaN is not JSON: a standard error over one world is null
    text = json.dumps({"facts": facts, **results.as_json()}, indent=1, default=str).replace("NaN", "null")
    paths = folder / "routing.html", folder / "routing.json"
    for path, content in zip(paths, (page(results, facts), text), strict=True):
        part = path.with_name(f"{path.name}.part")
        part.write_text(content, encoding="utf-8")
        os.replace(part, path)
    return paths
