"""MT-Bench: votes of people and merged GPT-4 verdicts on pairs of two-turn answers.

An instance is (question, unordered pair of models, turn); the completions stand in alphabetical order of the models,
so no side means anything. A turn-2 instance was judged on the whole conversation, and turn 1 differs between models:
so its prompt is the first user message, and each completion is that model's first answer, the second user message and
its second answer, as one text. Both turns of a question thus share the prompt and land in the same split.

The GPT-4 file merges both orders: a side when both orders named it, ``tie`` when at least one order said tie, and
``tie (inconsistent)`` when the verdict flipped. Readers need one verdict per order, so they are rebuilt: the merged
side twice, two ties, or, for an inconsistent one, the side shown first in each order (GPT-4's known lean). Merging the
two gives back the merged label exactly; ``meta.judge_orders = "reconstructed"`` marks them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from feedback.formats.records import (
    MAX_ID,
    BadRow,
    ImportedInstance,
    ReadOptions,
    RecordedAnnotation,
    RowError,
    checked_text,
    decisive,
    preference_answer,
    preference_question,
)
from feedback.formats.tables import Row, read_table

Key = tuple[int, str, str, int]
Winner = Literal["a", "tie", "b"]

JUDGE = "gpt-4"


def is_mtbench(path: Path) -> bool:
    """Whether ``path`` is a folder with the MT-Bench files."""
    return (path / "human.jsonl").is_file() and (path / "model_answer").is_dir() and (path / "question.jsonl").is_file()


def questions(options: ReadOptions) -> list[dict[str, Any]]:
    """One preference; the votes know a side or a tie."""
    return [preference_question(options)]


def read_mtbench(path: Path, options: ReadOptions) -> Iterator[ImportedInstance | RowError]:
    """Yield every pair with a vote or a verdict, by question, models and turn. Votes live in memory (a few MB)."""
    errors: list[RowError] = []
    prompts = {row["question_id"]: row for _, row in _rows(path / "question.jsonl", options, errors, "question_id")}
    votes = _votes(path / "human.jsonl", options, errors)
    verdicts = _verdicts(path / "gpt4_pair.jsonl", options, errors)
    answers = _answers(path / "model_answer", options, errors)
    yield from errors
    keys = votes.keys() if options.humans_only else votes.keys() | verdicts.keys()
    for line, key in enumerate(sorted(keys), start=1):
        try:
            annotations = votes.get(key, []) + verdicts.get(key, [])
            yield _instance(key, prompts, answers, annotations, options, line)
        except BadRow as error:
            yield error.at(line)


def _rows(path: Path, options: ReadOptions, errors: list[RowError], *needed: str) -> Iterator[tuple[int, Row]]:
    """Readable rows that have the ``needed`` columns; everything else goes to ``errors`` with the file's name."""
    for entry in read_table(path, options):
        if isinstance(entry, RowError):
            errors.append(RowError(entry.line, f"{path.name}:{entry.field}", entry.reason, entry.hint))
            continue
        missing = [column for column in needed if column not in entry[1]]
        if missing:
            errors.append(RowError(entry[0], f"{path.name}:{missing[0]}", "the row has no such column"))
        elif not isinstance(entry[1]["question_id"], int):
            errors.append(RowError(entry[0], f"{path.name}:question_id", "must be a whole number"))
        else:
            yield entry


_VOTE = ("judge", "model_a", "model_b", "question_id", "turn", "winner")


def _labelled(path: Path, options: ReadOptions, errors: list[RowError]) -> Iterator[tuple[Key, Row, Winner]]:
    """Votes with the key of their instance and the winner in the stored (alphabetical) order."""
    for line, row in _rows(path, options, errors, *_VOTE):
        first, second = str(row["model_a"]), str(row["model_b"])
        sides: dict[str, Winner] = {"model_a": "a", "model_b": "b", "tie": "tie", "tie (inconsistent)": "tie"}
        winner = sides.get(str(row["winner"]))
        if winner is None or first == second or row["turn"] not in (1, 2) or not _is_name(row["judge"]):
            reason = f"not a vote: {json.dumps(row, ensure_ascii=False)[:120]}"
            errors.append(RowError(line, f"{path.name}:winner", reason, "Expected model_a, model_b or tie."))
            continue
        if first > second:
            first, second = second, first
            winner = {"a": "b", "b": "a", "tie": "tie"}[winner]  # type: ignore[assignment]
        yield (row["question_id"], first, second, row["turn"]), row, winner


def _is_name(judge: object) -> bool:
    return isinstance(judge, str) and 1 <= len(judge.strip()) <= MAX_ID


def _votes(path: Path, options: ReadOptions, errors: list[RowError]) -> dict[Key, list[RecordedAnnotation]]:
    votes: dict[Key, list[RecordedAnnotation]] = defaultdict(list)
    for key, row, winner in _labelled(path, options, errors):
        answer = {options.question: preference_answer(decisive(winner, options.steps))}
        votes[key].append(RecordedAnnotation(row["judge"].strip(), "human", answer))
    return votes


def _verdicts(path: Path, options: ReadOptions, errors: list[RowError]) -> dict[Key, list[RecordedAnnotation]]:
    if not path.is_file():
        return {}
    verdicts: dict[Key, list[RecordedAnnotation]] = {}
    for key, row, winner in _labelled(path, options, errors):
        by_order: tuple[Winner, Winner] = ("a", "b") if row["winner"] == "tie (inconsistent)" else (winner, winner)
        verdicts[key] = [_verdict("ab", by_order[0], options), _verdict("ba", by_order[1], options)]
    return verdicts


def _verdict(order: Literal["ab", "ba"], winner: Winner, options: ReadOptions) -> RecordedAnnotation:
    answer = preference_answer(decisive(winner, options.steps))
    return RecordedAnnotation(JUDGE, "judge", {options.question: answer}, order)


def _answers(folder: Path, options: ReadOptions, errors: list[RowError]) -> dict[tuple[str, int], list[str]]:
    answers: dict[tuple[str, int], list[str]] = {}
    for path in sorted(folder.glob("*.jsonl*")):
        for line, row in _rows(path, options, errors, "question_id", "model_id", "choices"):
            try:
                turns = row["choices"][0]["turns"]
            except (TypeError, KeyError, IndexError):
                errors.append(RowError(line, f"{path.name}:choices", "has no turns"))
                continue
            answers[str(row["model_id"]), row["question_id"]] = turns
    return answers


def _instance(
    key: Key,
    prompts: dict[int, Row],
    answers: dict[tuple[str, int], list[str]],
    annotations: list[RecordedAnnotation],
    options: ReadOptions,
    line: int,
) -> ImportedInstance:
    number, first, second, turn = key
    question = prompts.get(number)
    if question is None or not isinstance(question.get("turns"), list) or len(question["turns"]) < turn:
        raise BadRow("question.jsonl", f"has no question {number} with {turn} turns")
    turns = [checked_text(text, f"question.{number}", options) for text in question["turns"]]
    completions: list[dict[str, str | None]] = [
        {"content": _completion(answers.get((model, number)), model, turns, turn, options), "model": model}
        for model in (first, second)
    ]
    judged = any(annotation.source == "judge" for annotation in annotations)
    meta = {"category": str(question.get("category", "")), "question_id": number, "turn": turn}
    if judged:
        meta["judge_orders"] = "reconstructed"
    external_id = f"mtbench-{number}-{first}-{second}-turn{turn}"
    prompt = [{"role": "user", "content": turns[0]}]
    return ImportedInstance(external_id, prompt, completions, meta, "mtbench", annotations, line)


def _completion(answer: list[str] | None, model: str, turns: list[str], turn: int, options: ReadOptions) -> str:
    if not isinstance(answer, list) or len(answer) < turn:
        raise BadRow("model_answer", f"{model} has no answer to turn {turn}")
    first = checked_text(answer[0], f"model_answer.{model}", options)
    if turn == 1:
        return first
    second = checked_text(answer[1], f"model_answer.{model}", options)
    return f"{first}\n\n**User:** {turns[1]}\n\n**Assistant:** {second}"
