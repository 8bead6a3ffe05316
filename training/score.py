"""The process that scores completions with a reward model: `python -m training.score FOLDER`.

Reads `scoring.json` and the items it names, and writes `state.json`, `scores.jsonl` and `result.json`: a line per item
with the score of each completion, or why it has none.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import torch
from pydantic import Field

from training.engine import loading
from training.engine.config import Positive
from training.engine.errors import RunError
from training.engine.files import replace_lines
from training.engine.loading import load_model, load_tokenizer
from training.engine.progress import Progress, Stop
from training.engine.records import Group, file_rows, text_of
from training.engine.score_heads import score_heads
from training.engine.segments import segmenting_of
from training.engine.tokens import Lengths, TokenGroup, tokenise
from training.generation.best_of_n import score_groups
from training.process import Wishes, main, read_wishes


class ScoringWishes(Wishes):
    """The whole of `scoring.json`: absolute paths of the model's folder and of the items (`id`, `prompt`,
    `completions`), and how long texts are read."""

    schema_version: Literal[1] = Field(alias="schema")
    model: str
    items: str
    max_length: Positive = 512
    tokens_per_batch: Positive = 4096
    threads: Positive | None = None


def work(folder: Path, stop: Stop) -> dict[str, Any]:
    """Score every item. Raises RunError for a model that scores no single completion, or CancelledError."""
    wishes = read_wishes(folder / "scoring.json", ScoringWishes)
    if wishes.threads:
        torch.set_num_threads(wishes.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    progress = Progress(folder, device)
    progress.enter("loading")
    place = Path(wishes.model)
    raw = loading.check_folder(place)
    if raw.get("reads_pairs"):
        raise RunError("This model compares two completions that it reads at once; it cannot score one.")
    if not score_heads(raw):
        raise RunError("This model writes text and gives no scores; choose a reward model.")
    limit = loading.position_limit(place) or wishes.max_length
    groups, report = tokenise(
        list(read_items(Path(wishes.items))),
        load_tokenizer(place),
        Lengths(min(wishes.max_length, limit), None, "truncate-prompt-left"),
        segmenting_of(SimpleNamespace(**raw)),
    )
    packed = loading.can_pack(place, max((group.longest for group in groups), default=1))
    model = load_model(place, "reward", packed=packed, device=device, heads=score_heads(raw))
    progress.total_steps = len(groups)

    def after_batch(done: int) -> None:
        progress.phase, progress.step = "scoring", done
        progress.write()
        stop.check()

    scores = score_groups(model, groups, wishes.tokens_per_batch, after_batch)
    replace_lines(folder / "scores.jsonl", lines_of(groups, scores, report.dropped))
    return {"scored": len(groups), "left_out": {reason: len(ids) for reason, ids in report.dropped.items()}}


def read_items(path: Path) -> Iterable[Group]:
    """The items as groups without labels."""
    for _, row in file_rows(path):
        completions = tuple(text_of({"completion": text}, "completion") for text in row["completions"])
        yield Group(str(row["id"]), str(row["id"]), "", text_of(row, "prompt"), completions, ())


def lines_of(
    groups: list[TokenGroup], scores: list[list[float]], dropped: dict[str, list[str]]
) -> list[dict[str, Any]]:
    """A line per item."""
    found = [{"id": group.id, "scores": values} for group, values in zip(groups, scores, strict=True)]
    return found + [{"id": name, "error": reason} for reason, names in dropped.items() for name in names]


if __name__ == "__main__":
    sys.exit(main("training.score", __doc__.splitlines()[0], work))
