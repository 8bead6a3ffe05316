"""The card of a trained model: what it is, what it learned from, how well it does, and how to load it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .models import Run

NAME = "README.md"
LOADERS = {"reward-model": "AutoModelForSequenceClassification", "policy": "AutoModelForCausalLM"}
LIMITS = {
    "reward-model": "Scores compare completions of the same prompt; a score by itself means nothing.",
    "policy": "The accuracy below is that of the implicit rewards against the reference policy, not of generated text.",
}
OWN_LIMITS = {
    "pair_pm": [
        "It reads two completions as one answer, “First: … Second: …”, and its score is the log-odds that the first is "
        "better; ask for both orders and take half their difference. It cannot score a completion alone."
    ],
    "multi_objective": [
        "Tiebreak makes one reward of the attributes by the gate; a plain transformers load shows the score of each "
        "attribute (named under `gate` in config.json, less one half) and no reward."
    ],
    "fine_grained": [
        "Tiebreak makes the reward of the error types of each segment and of completeness, as `segment_rewards` in "
        "config.json says; a plain transformers load shows the scores at the last token alone."
    ],
}


def manifest_sha256(files: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 over the lines ``<sha256>  <path>`` of ``files``, sorted by path: what ``sha256sum`` prints, hashed."""
    lines = sorted((file["path"], f"{file['sha256']}  {file['path']}\n") for file in files)
    return hashlib.sha256("".join(line for _, line in lines).encode()).hexdigest()


def write(folder: Path, text: str) -> dict[str, Any]:
    """Put the card into a model folder, whole or not at all; returns its ``{path, sha256, bytes}``."""
    data = text.encode()
    temporary = folder / f".{NAME}.tmp"
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / NAME)
    return {"path": NAME, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def render(run: Run) -> str:
    """The card's Markdown. A run is described as it stands; figures that are missing are said to be missing."""
    version = run.version
    limit = " ".join([*OWN_LIMITS.get(run.objective, []), LIMITS[run.kind]])
    parts = [
        f"---\nlibrary_name: transformers\ntags:\n- tiebreak\n- {run.kind}\n---",
        f"# {run.objective_title}, run {run.number}",
        f"Trained with the objective `{run.objective}` on version {version.number} of “{_line(version.task.name)}”, "
        f"starting from: {_line(run.base_name)}.",
        "## Data\n\n" + _bullets(_data(run)),
        "## Settings\n\n" + _bullets(_settings(run)),
        "## Evaluation\n\n" + _evaluation(run.evaluation),
        f"## Limits\n\n{limit} Preferences of the annotators named in the card of the dataset version "
        "are all that it learned; it was not tested for any other use.",
        f"## Use\n\n```python\nfrom transformers import AutoTokenizer, {LOADERS[run.kind]}\n\n"
        f'model = {LOADERS[run.kind]}.from_pretrained("path/to/this/folder")\n'
        'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")\n```',
    ]
    return "\n\n".join(parts) + "\n"


def _data(run: Run) -> list[tuple[str, object]]:
    splits = run.preflight.get("splits", {})
    used = ", ".join(
        f"{split} {report['kept']:,} of {report['rows']:,}" for split, report in splits.items() if "kept" in report
    )
    return [
        ("Dataset version", f"{run.version.number} (`{run.version.public_id}`)"),
        ("Data SHA-256", f"`{run.version.sha256}`" if run.version.sha256 else "not recorded"),
        ("Rows", f"{run.version.rows:,}"),
        ("Rows used", used or "not recorded"),
    ]


def _settings(run: Run) -> list[tuple[str, object]]:
    chosen = [(name, value) for name, value in sorted(run.config.items()) if value is not None]
    return [("Steps", run.step), ("Tokens seen", f"{run.tokens:,}"), *((f"`{name}`", value) for name, value in chosen)]


def _evaluation(evaluation: Mapping[str, Any]) -> str:
    rows = [
        f"| {split} | {figures['accuracy']:.3f} | {_interval(figures)} | {figures['pairs']:,} "
        f"| {_number(figures, 'log_loss')} | {_number(figures, 'ece')} |"
        for split, figures in evaluation.items()
        if figures.get("accuracy") is not None
    ]
    if not rows:
        return "\n\n".join(["Not evaluated: the dataset version has no held-out pairs.", *_parts(evaluation)])
    head = "| split | accuracy | 95% interval | pairs | log-loss | calibration error |\n|---|---|---|---|---|---|"
    note = "Intervals are bootstrap intervals over prompts; a pair that the model scores equal counts one half."
    return "\n\n".join(["\n".join([head, *rows]), note, *_parts(evaluation)])


def _parts(evaluation: Mapping[str, Any]) -> list[str]:
    """What is known of an ensemble's heads and of the error types of segments."""
    found = []
    for split, figures in evaluation.items():
        if heads := figures.get("ensemble"):
            found.append(
                (
                    f"Heads, {split}",
                    f"differ by {heads['mean_sd']:.3f}, and take both sides of {1 - heads['unanimous']:.1%}",
                )
            )
        for name, one in figures.get("segments", {}).items():
            curve = _number(one, "auc")
            found.append(
                (f"{_line(name)}, {split}", f"{one['marked']:,} of {one['segments']:,} segments, area {curve}")
            )
    return [_bullets(found)] if found else []


def _interval(figures: Mapping[str, Any]) -> str:
    return f"{figures['low']:.3f} to {figures['high']:.3f}" if figures.get("low") is not None else "–"


def _number(figures: Mapping[str, Any], name: str) -> str:
    value = figures.get(name)
    return f"{value:.3f}" if isinstance(value, int | float) else "–"


def _bullets(facts: Sequence[tuple[str, object]]) -> str:
    return "\n".join(f"- **{name}:** {_line(value)}" for name, value in facts)


def _line(value: object) -> str:
    """Any text on one line, without what Markdown would read as a heading, a fence or a link."""
    return " ".join(str(value).split()).replace("[", "\\[").replace("<", "&lt;")
