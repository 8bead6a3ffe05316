"""A recorded set as a pool to buy from: what everybody said is known here, and shown to the services when bought."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

from annotate.demo import loading
from feedback.exceptions import InvalidInput
from feedback.formats.records import ImportedInstance, ReadOptions, RowError, preference_answer
from feedback.formats.sources import detect_source
from feedback.formats.splits import prompt_hash, split_of
from feedback.models import Annotator, AnnotatorKind, Instance, Task
from feedback.questions import parse_questions, strength
from feedback.services.recorded import Checked, Checker, Said
from feedback.services.recording import Recorded, record

QUESTION = {
    "kind": "preference",
    "name": "overall",
    "title": "Which completion is better?",
    "steps": 5,
    "allow_both_bad": False,
}


@dataclass(frozen=True)
class Row:
    """One instance of the set with what was recorded of it."""

    record: ImportedInstance
    prompt_id: str
    people: tuple[Said, ...]
    judge: Said | None


def read_set(path: Path, judge: str | None = None) -> tuple[str, list[Row]]:
    """The judge's name and every two-completion instance that a person and this judge annotated.

    ``judge`` defaults to the one with most verdicts. Raises InvalidInput when the set has no such instance.
    """
    checked = list(_checked(path))
    counts: dict[str, int] = {}
    for entry in checked:
        for said in entry.said:
            if said.source == "judge":
                counts[said.annotator] = counts.get(said.annotator, 0) + 1
    name = judge or max(sorted(counts), key=lambda key: counts[key], default="")
    rows = [row for entry in checked if (row := _row(entry, name)).people and row.judge]
    if not rows:
        known = ", ".join(sorted(counts)) or "none"
        raise InvalidInput(f"No instance has both a person and the judge {name!r}; judges of this set: {known}.")
    return name, rows


def _checked(path: Path) -> Iterator[Checked]:
    source = detect_source(path)
    if source is None:
        raise InvalidInput(f"{path} is no set that can be read; see the formats of the import page.")
    checker = Checker(parse_questions([QUESTION]))
    for record_or_error in source.read(path, ReadOptions(humans_only=True)):
        if isinstance(record_or_error, RowError):
            raise InvalidInput(f"{path.name}, line {record_or_error.line}: {record_or_error.reason}.")
        if len(record_or_error.completions) == 2:
            entry = checker(record_or_error)
            if isinstance(entry, Checked):
                yield entry


def _row(entry: Checked, judge: str) -> Row:
    preferences = [said for said in entry.said if QUESTION["name"] in said.answers]
    people = tuple(said for said in preferences if said.source == "human")
    verdict = next((said for said in preferences if said.annotator == judge and said.source == "judge"), None)
    return Row(entry.instance, prompt_hash(entry.instance.prompt), people, verdict)


def side(said: Said) -> float:
    """1 when A is preferred, 0 for B, ½ for a tie; a judge's own probability decides where it has one."""
    p_a = said.details.get("p_a")
    if p_a is not None:
        return 0.5 if p_a == 0.5 else float(p_a > 0.5)
    signed = strength(said.answers["overall"]["value"], 5)
    return 0.5 if not signed else float(signed < 0)


@dataclass(frozen=True)
class Draw:
    """A seed's view of the set: the pool, the held-out prompts, and the one person who answers for each instance."""

    seed: int
    pool: Mapping[str, Row]
    held_out: Mapping[str, Row]
    person: Mapping[str, int]

    @classmethod
    def of(cls, rows: Iterable[Row], seed: int, held_out: float = 0.3) -> Draw:
        """Split by prompt; draw the person of each instance."""
        rng = Random(seed)
        pool, test = dict[str, Row](), dict[str, Row]()
        for row in rows:
            split = split_of(row.prompt_id, (1 - held_out, 0.0, held_out), seed)
            (test if split == "test" else pool)[row.record.external_id] = row
        return cls(seed, pool, test, {name: rng.randrange(len(row.people)) for name, row in pool.items()})

    def others(self, name: str) -> float | None:
        """The side that most of the people not asked say, 1 or 0; ``None`` when there are none or they are split."""
        row = self.pool[name]
        sides = [side(said) for n, said in enumerate(row.people) if n != self.person[name]]
        votes = sum(sides) - len(sides) / 2
        return None if not votes else float(votes > 0)

    def correct(self, sources: Mapping[str, str]) -> dict[str, float]:
        """Whether each instance's label under a mix (external id → source) is what the others say; a tie is ½."""
        right: dict[str, float] = {}
        for name, source in sources.items():
            truth = self.others(name)
            row = self.pool[name]
            said = row.people[self.person[name]] if source == "human" else row.judge
            if truth is not None and said is not None:
                label = side(said)
                right[name] = 0.5 if label == 0.5 else float(label == truth)
        return right


def write_rows(rows: Iterable[Row], path: Path) -> Path:
    """The instances as JSON lines, without what was recorded: what the import gets to see."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            one = row.record
            completions = [completion["content"] for completion in one.completions]
            line = {
                "external_id": one.external_id,
                "prompt": one.prompt,
                "completions": completions,
                "models": [completion["model"] for completion in one.completions],
                "category": one.meta.get("category", ""),
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return path


def write_texts(rows: Iterable[Row], path: Path) -> Path:
    """Every completion with its prompt as a conversation, once each, as JSON lines: words without preferences."""
    lines = {
        json.dumps([*row.record.prompt, {"role": "assistant", "content": completion["content"]}], ensure_ascii=False)
        for row in rows
        for completion in row.record.completions
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in sorted(lines)), encoding="utf-8")
    return path


class Crowd:
    """The recorded annotators of a task: shows what they said to the services, once each."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.instances = {one.external_id: one for one in Instance.objects.filter(task=task)}
        self._annotators: dict[tuple[str, str], Annotator] = {}

    def annotator(self, said: Said) -> Annotator:
        kind = AnnotatorKind.HUMAN if said.source == "human" else AnnotatorKind.JUDGE
        key = (kind, said.annotator)
        if key not in self._annotators:
            self._annotators[key] = Annotator.objects.get_or_create(
                project=self.task.project, kind=kind, name=said.annotator[:200], user=None
            )[0]
        return self._annotators[key]

    def reveal(self, said: Iterable[tuple[str, Said]]) -> int:
        """Store (external id, what was said) as recorded annotations; requests for them are settled."""
        return record(self.task, (Recorded(self.instances[name], self.annotator(one), one) for name, one in said))


def read_demo(seed: int = 0) -> tuple[str, list[Row]]:
    """The demo's pairs with three simulated people and a simulated judge who likes length."""
    rng = Random(seed)
    rows = []
    for n, source in enumerate(loading.rows("pairs.jsonl")):
        texts, better = loading.texts_of(n, source), n % 2
        prompt = [{"role": "user", "content": source["prompt"]}]
        completions: list[dict[str, str | None]] = [{"content": text, "model": None} for text in texts]
        one = ImportedInstance(f"pair-{n}", prompt, completions, {"category": source["subject"]}, "demo")
        crowd = tuple(
            _simulated(f"simulated-{number}", "human", better if rng.random() < accuracy else 1 - better)
            for number, accuracy in enumerate((0.95, 0.85, 0.75), start=1)
        )
        longer = int(len(texts[1]) > len(texts[0]))
        judge = _simulated("simulated-judge", "judge", longer if rng.random() < 0.7 else better)
        rows.append(Row(one, prompt_hash(prompt), crowd, judge))
    return "simulated-judge", rows


def _simulated(name: str, source: Literal["human", "judge"], preferred: int) -> Said:
    value = "b-is-clearly-better" if preferred else "a-is-clearly-better"
    details = {"p_a": 0.1 if preferred else 0.9, "order_consistent": True} if source == "judge" else {}
    return Said(name, source, {"overall": preference_answer(value)}, details)
