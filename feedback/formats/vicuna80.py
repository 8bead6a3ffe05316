"""Vicuna-80: three crowd labels per pair in the order shown, and written verdicts of several judges in both orders.

An instance is (question, model A, model B) with the completions stored in the order that the crowd saw. The labels
carry no annotator: they are named ``crowd-slot-1`` to ``-3`` by row order, which is no stable person, and
``meta.anonymous_annotators`` says so; models of annotators (Dawid–Skene, drift) must not use them. Score 1 or 2 is the
first or second answer, 3 a tie, −1 an unreadable verdict, which is kept as an abstention (no answers).
The GPT-4 verdicts of ``prd/`` repeat those of ``qlora/`` word for word and are read only for the pairs that are new.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Literal

from feedback.formats.records import (
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

Winner = Literal["a", "tie", "b"]
Pair = tuple[str, str]
_WINNERS: dict[object, Winner] = {1: "a", 2: "b", 3: "tie"}
_SWAPPED: dict[Winner, Winner] = {"a": "b", "b": "a", "tie": "tie"}
_NAME = re.compile(r"^(?P<first>.+?)-vs-(?P<second>.+?)-(?P<judge>human|gpt-?4|gpt35|claude|bard|vicuna-13b)-reviewer")
_GUANACO = re.compile(r"^(\d+)b-guanaco")
_JUDGES = {
    "ratings-gpt4": "gpt-4",
    "ratings-gpt35": "gpt-3.5",
    "ratings-claude": "claude",
    "ratings-bard": "bard",
    "ratings-vicuna-13b": "vicuna-13b",
}


def is_vicuna80(path: Path) -> bool:
    """Whether ``path`` is a folder with the Vicuna-80 files."""
    return (path / "prd" / "ratings-human").is_dir() and (path / "qlora" / "generations").is_dir()


def questions(options: ReadOptions) -> list[dict[str, Any]]:
    """One preference; the labels know a side or a tie."""
    return [preference_question(options)]


def read_vicuna80(path: Path, options: ReadOptions) -> Iterator[ImportedInstance | RowError]:
    """Yield each labelled pair with its crowd labels and every judge's verdicts, one pair of models at a time.

    In memory: the answers of all models, and the verdict files of one pair.
    """
    errors: list[RowError] = []
    prompts = {row["question_id"]: row for row in _rows(path / "prd/prompts/vicuna_questions.jsonl", options, errors)}
    answers = _answers(path, options, errors)
    humans = {pair: file for file in _files(path / "prd" / "ratings-human") if (pair := _pair_of(file))}
    judged = _judge_files(path)
    line = count(1)
    for first, second in sorted(humans):
        labels: dict[int, list[RecordedAnnotation]] = defaultdict(list)
        for row in _rows(humans[first, second], options, errors):
            labels[row["question_id"]].append(_label(row, len(labels[row["question_id"]]) + 1, options))
        verdicts = _verdicts(judged, (first, second), options, errors)
        yield from errors
        errors.clear()
        for number in sorted(labels):
            at = next(line)
            try:
                annotations = labels[number] + verdicts.get(number, [])
                yield _instance((number, first, second), prompts, answers, annotations, options, at)
            except BadRow as error:
                yield error.at(at)
    yield from errors


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl*")) if folder.is_dir() else []


def _model_name(raw: str) -> str:
    """One name per model over both repositories: ``answer_gpt35`` and ``answer-gpt35`` are ``gpt35``; PRD's
    ``guanaco-33b`` is what QLoRA calls 30b."""
    guanaco = _GUANACO.match(raw)
    if guanaco:
        return f"guanaco-{'33' if guanaco[1] == '30' else guanaco[1]}b"
    return raw.removeprefix("answer").lstrip("_-")


def _pair_of(path: Path) -> Pair | None:
    match = _NAME.match(path.name)
    return (_model_name(match["first"]), _model_name(match["second"])) if match else None


def _judge_files(path: Path) -> dict[str, dict[Pair, Path]]:
    """Verdict files by judge and (first, second) model; the judge's second run on a pair is a judge of its own."""
    found: dict[str, dict[Pair, Path]] = defaultdict(dict)
    folders = [(path / "qlora/ratings-gpt4/pairwise", "gpt-4"), *((path / "prd" / k, v) for k, v in _JUDGES.items())]
    for folder, judge in folders:
        for file in _files(folder):
            pair = _pair_of(file)
            if pair is None or (judge == "gpt-4" and pair in found[judge]):
                continue
            name = f"{judge}-second-run" if pair in found[judge] else judge
            found[name][pair] = file
    return found


def _rows(path: Path, options: ReadOptions, errors: list[RowError]) -> Iterator[Row]:
    for entry in read_table(path, options):
        if isinstance(entry, RowError):
            errors.append(RowError(entry.line, f"{path.name}:{entry.field}", entry.reason, entry.hint))
        elif not isinstance(entry[1].get("question_id"), int):
            errors.append(RowError(entry[0], f"{path.name}:question_id", "must be a whole number"))
        elif not isinstance(entry[1].get("score", 0), int):
            errors.append(RowError(entry[0], f"{path.name}:score", "must be a whole number"))
        else:
            yield entry[1]


def _answers(path: Path, options: ReadOptions, errors: list[RowError]) -> dict[tuple[str, int], str]:
    answers: dict[tuple[str, int], str] = {}
    for folder in (path / "qlora" / "generations", path / "prd" / "generations"):
        for file in _files(folder):
            model = _model_name(file.name.split(".jsonl")[0])
            for row in _rows(file, options, errors):
                key = "generation" if "generation" in row else "text"
                answers.setdefault((model, row["question_id"]), row.get(key, ""))
    return answers


def _label(row: Row, slot: int, options: ReadOptions) -> RecordedAnnotation:
    return RecordedAnnotation(f"crowd-slot-{slot}", "human", _answer(_WINNERS.get(row.get("score")), options))


def _answer(winner: Winner | None, options: ReadOptions) -> dict[str, dict[str, Any]]:
    return {options.question: preference_answer(decisive(winner, options.steps))} if winner else {}


def _verdicts(
    judged: dict[str, dict[Pair, Path]], pair: Pair, options: ReadOptions, errors: list[RowError]
) -> dict[int, list[RecordedAnnotation]]:
    verdicts: dict[int, list[RecordedAnnotation]] = defaultdict(list)
    orders: tuple[tuple[Literal["ab", "ba"], Pair], ...] = (("ab", pair), ("ba", (pair[1], pair[0])))
    for judge in sorted(judged):
        for order, shown in orders:
            if shown not in judged[judge]:
                continue
            for row in _rows(judged[judge][shown], options, errors):
                winner = _WINNERS.get(row.get("score"))
                winner = _SWAPPED[winner] if winner and order == "ba" else winner
                reason = str(row.get("text", ""))[: options.max_text]
                verdict = RecordedAnnotation(judge, "judge", _answer(winner, options), order, reason)
                verdicts[row["question_id"]].append(verdict)
    return verdicts


def _instance(
    key: tuple[int, str, str],
    prompts: dict[int, Row],
    answers: dict[tuple[str, int], str],
    annotations: list[RecordedAnnotation],
    options: ReadOptions,
    line: int,
) -> ImportedInstance:
    number, first, second = key
    if number not in prompts:
        raise BadRow("vicuna_questions.jsonl", f"has no question {number}")
    completions: list[dict[str, str | None]] = [
        {"content": checked_text(answers.get((model, number)), f"generations.{model}", options), "model": model}
        for model in (first, second)
    ]
    question = prompts[number]
    meta = {"category": str(question.get("category", "")), "question_id": number, "anonymous_annotators": True}
    prompt = [{"role": "user", "content": checked_text(question.get("text"), "vicuna_questions.jsonl", options)}]
    external_id = f"vicuna80-{number}-{first}-{second}"
    return ImportedInstance(external_id, prompt, completions, meta, "vicuna80", annotations, line)
