"""What is trained on: dialogues of HH's shape written by rules, and real questions with four ranked answers."""

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from training.base_model import answer, question

# Mean turns and tokens of Anthropic's helpful dialogues: table 6 of arXiv:2307.09288. The spread is ours.
TURNS, ASKED, ANSWERED, SPREAD = 3.0, 17.7, 88.4, 0.6
_TOKENS_PER_WORD = 1.25

Row = dict[str, Any]


def hh_shaped(count: int, completions: int = 2, seed: int = 1) -> list[Row]:
    """Lists of completions after a dialogue: turns are geometric, lengths log-normal with HH's means."""
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        subject, _ = question(generator)
        prompt: list[dict[str, str]] = []
        for turn in range(int(generator.geometric(1 / TURNS)), 0, -1):
            prompt.append({"role": "user", "content": _text(subject, ASKED, generator)})
            if turn > 1:
                prompt.append({"role": "assistant", "content": _text(subject, ANSWERED, generator)})
        texts = [_text(subject, ANSWERED, generator) for _ in range(completions)]
        rows.append(
            {"id": f"hh-{number}", "prompt": prompt, "completions": texts, "ranks": [*range(1, completions + 1)]}
        )
    return rows


def _text(subject: str, tokens: float, generator: np.random.Generator) -> str:
    words = max(3, round(generator.lognormal(np.log(tokens / _TOKENS_PER_WORD) - SPREAD**2 / 2, SPREAD)))
    written: list[str] = []
    while len(written) < words:
        written += answer(subject, generator).text.split()
    return " ".join(written[:words])


def qa_feedback(folder: Path) -> list[Row]:
    """Questions with their passages and four ranked answers, from a folder with QA-Feedback's `dev_feedback.json`."""
    from feedback.formats.qa_feedback import read_qa_feedback
    from feedback.formats.records import ImportedInstance, ReadOptions

    rows = []
    for found in read_qa_feedback(folder, ReadOptions()):
        if not isinstance(found, ImportedInstance):
            raise ValueError(f"{folder} has a row that cannot be read: {found.reason}")
        best_first = found.annotations[0].answers["ranking"]["groups"]
        ranks = {index: place for place, members in enumerate(best_first, 1) for index in members}
        passages = "\n".join(" ".join((one["title"], *one["sentences"])) for one in found.meta["passages"])
        asked = [{"role": "user", "content": f"{passages}\n\n{found.prompt[0]['content']}"}]
        texts = [str(completion["content"]) for completion in found.completions]
        ranked = [ranks[index] for index in range(len(texts))]
        rows.append({"id": found.external_id, "prompt": asked, "completions": texts, "ranks": ranked})
    return rows


def expanded(rows: list[Row]) -> Iterator[Row]:
    """All pairs of each list with different ranks, the better completion chosen."""
    for row in rows:
        for one, other in combinations(range(len(row["completions"])), 2):
            if row["ranks"][one] != row["ranks"][other]:
                best, worst = (one, other) if row["ranks"][one] < row["ranks"][other] else (other, one)
                sides = {"chosen": row["completions"][best], "rejected": row["completions"][worst]}
                yield {"prompt": row["prompt"]} | {
                    side: [{"role": "assistant", "content": text}] for side, text in sides.items()
                }


def pairs(rows: list[Row]) -> list[Row]:
    """One pair of each list: its best completion and its worst."""
    ends = []
    for row in rows:
        order = np.argsort(row["ranks"], kind="stable")
        best, worst = int(order[0]), int(order[-1])
        ends.append({**row, "completions": [row["completions"][best], row["completions"][worst]], "ranks": [1, 2]})
    return list(expanded(ends))


def write(path: Path, rows: list[Row]) -> str:
    """JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)
