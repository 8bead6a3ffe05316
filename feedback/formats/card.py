"""The card of a data set version: YAML front matter that the Hub's loader reads, and what a person needs to know."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from feedback.formats.shapes import Shape


class Agreement(TypedDict, total=False):
    """An agreement figure of a card; ``None`` where it is undefined."""

    measure: str
    value: float | None
    low: float | None
    high: float | None
    pairs: int


class Card(TypedDict, total=False):
    """What a card says. Only ``title`` is needed; a missing entry is said to be not recorded."""

    title: str
    description: str
    version: int
    created_at: str
    license: str
    languages: list[str]
    source: str
    guideline_versions: list[int]
    question_versions: list[int]
    annotators: dict[str, Any]
    agreement: list[Agreement]
    aggregation: str
    human_share: float
    judge_share: float
    ties: str
    ties_dropped: int
    consent: str
    notes: list[str]


_UNKNOWN = "not recorded"


def render_card(
    card: Mapping[str, Any], *, shape: Shape, file_format: str, splits: Mapping[str, int], identity: str
) -> str:
    """The text of ``README.md``: front matter with one default configuration over the splits that have files, then
    the facts of ``card`` (see :class:`Card`). Raises KeyError without ``title``."""
    return f"---\n{_front_matter(card, file_format, splits)}---\n\n{_body(card, shape, splits, identity)}"


def _front_matter(card: Mapping[str, Any], file_format: str, splits: Mapping[str, int]) -> str:
    lines = [f"pretty_name: {_quoted(card['title'])}"]
    if card.get("license"):
        lines.append(f"license: {_quoted(card['license'])}")
    if card.get("languages"):
        lines += ["language:", *(f"- {_quoted(code)}" for code in card["languages"])]
    lines += ["tags:", "- preference", "- tiebreak", "configs:", "- config_name: default", "  data_files:"]
    for split in splits:
        lines += [f"  - split: {split}", f"    path: data/{split}-*.{file_format}"]
    return "\n".join(lines) + "\n"


def _quoted(value: object) -> str:
    """A YAML double-quoted scalar: JSON strings are valid ones."""
    return json.dumps(_one_line(value), ensure_ascii=False)


def _one_line(value: object) -> str:
    return " ".join(str(value).split())


def _body(card: Mapping[str, Any], shape: Shape, splits: Mapping[str, int], identity: str) -> str:
    parts = [
        f"# {_one_line(card['title'])}",
        str(card.get("description", "")).strip(),
        shape.title,
        "## Facts\n\n" + "\n".join(f"- **{name}:** {text}" for name, text in _facts(card, identity)),
        "## Rows\n\n" + _table(("split", "rows"), [(split, f"{rows:,}") for split, rows in splits.items()]),
        "## Agreement\n\n" + _agreement(card.get("agreement", [])),
        "## Columns\n\n" + _table(("column", "type"), [(f"`{f.name}`", f"`{f.type}`") for f in shape.schema]),
    ]
    if card.get("notes"):
        parts.append("## Notes\n\n" + "\n".join(f"- {_one_line(note)}" for note in card["notes"]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(card: Mapping[str, Any], identity: str) -> list[tuple[str, str]]:
    return [
        ("Version", _one_line(card.get("version", _UNKNOWN))),
        ("Created", _one_line(card.get("created_at", _UNKNOWN))),
        ("Data SHA-256", f"`{identity}`"),
        ("Source", _one_line(card.get("source", _UNKNOWN))),
        ("Guideline versions", _numbers(card.get("guideline_versions"))),
        ("Question versions", _numbers(card.get("question_versions"))),
        ("Annotators", _annotators(card.get("annotators"))),
        ("Aggregation", _one_line(card.get("aggregation", _UNKNOWN))),
        ("Labels by people", _share(card.get("human_share"))),
        ("Labels by a judge", _share(card.get("judge_share"))),
        ("Ties", _ties(card)),
        ("Consent", _one_line(card.get("consent", _UNKNOWN))),
    ]


def _numbers(versions: Sequence[int] | None) -> str:
    return ", ".join(map(str, versions)) if versions else _UNKNOWN


def _annotators(pool: object) -> str:
    if not isinstance(pool, Mapping) or not pool:
        return _UNKNOWN
    return "; ".join(f"{_one_line(name)}: {_one_line(value)}" for name, value in pool.items())


def _share(value: object) -> str:
    return f"{value:.1%}" if isinstance(value, (int, float)) else _UNKNOWN


def _ties(card: Mapping[str, Any]) -> str:
    rule = _one_line(card.get("ties", _UNKNOWN))
    dropped = card.get("ties_dropped")
    return rule if dropped is None else f"{rule}; {dropped:,} dropped"


def _agreement(figures: list[Agreement]) -> str:
    rows = []
    for figure in figures:
        value, low, high = (figure.get(key) for key in ("value", "low", "high"))
        interval = f"{low:.3f} to {high:.3f}" if isinstance(low, float) and isinstance(high, float) else "–"
        shown = f"{value:.3f}" if isinstance(value, (int, float)) else "undefined"
        rows.append((_cell(figure.get("measure", "")), shown, interval, str(figure.get("pairs", "–"))))
    return _table(("measure", "value", "95% interval", "pairs"), rows) if rows else "Not measured."


def _cell(value: object) -> str:
    return _one_line(value).replace("|", "\\|")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
