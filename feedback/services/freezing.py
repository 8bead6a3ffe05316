"""What a dataset version is made of: annotations of one snapshot, aggregated, as rows of an export shape."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal

import numpy as np
from django.db.models import Count, QuerySet
from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..aggregation import Votes, dawid_skene, krippendorff_alpha
from ..content import text_of
from ..exceptions import InvalidInput
from ..formats.media_column import File
from ..formats.shape_table import SHAPES, ShapeName, ordering_question
from ..formats.shapes import Shape
from ..formats.splits import split_of
from ..models import Annotation, AnnotationState, Annotator, Instance, MediaFile, Task
from ..preferences import (
    TIE,
    A,
    B,
    Comparison,
    Drop,
    Expansion,
    Outcome,
    Pair,
    comparisons,
    of_source,
    outcome,
    weighed,
)
from ..questions import Question, parse_questions
from ..refinements import Critic, Refinement, asks_refinement, refinements
from .shaping import ROWS, Held, Said, Subject, source_of
from .snapshot import Snapshot

ALPHA_ITEMS = 20_000  # more do not narrow the interval visibly; a seeded sample of this size bounds memory
BOOTSTRAP = 500


class FreezeSpec(BaseModel):
    """What to freeze. ``question`` names a preference or ranking question, by default the task's first of them.

    ``sources``: ``any`` takes people where they annotated and otherwise the judge; ``mix`` takes for each instance the
    source that the mix ``mix`` says and leaves other instances out. ``ties``: ``drop`` leaves a tie out, ``keep-half``
    keeps it with ``soft_label`` 0.5, the completion stored first as ``chosen``. ``refinements``: ``chosen`` makes a
    pair of every refinement, chosen over the completion that it refines, beside the pairs of the question.
    ``adjudicated``: where a reviewer decided, the decision alone counts for the questions that it answers.
    ``aggregation``: ``posterior`` weighs judge and people where both spoke, by how often each is right there; it needs
    the mix of a routing plan. ``pairs`` says which pairs a ranking gives
    (see :func:`feedback.preferences.comparisons`).
    ``splits`` are the fractions of prompts in train, validation and test.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shapes: tuple[ShapeName, ...] = Field(default=("preference",), min_length=1, max_length=len(SHAPES))
    formats: tuple[Literal["jsonl", "parquet"], ...] = Field(default=("jsonl", "parquet"), min_length=1, max_length=2)
    question: str = Field(default="", max_length=64)
    aggregation: Literal["majority", "dawid-skene", "posterior"] = "majority"
    sources: Literal["any", "human", "judge", "mix"] = "any"
    mix: str | None = None
    ties: Literal["drop", "keep-half"] = "drop"
    pairs: Expansion = "all"
    refinements: Literal["leave-out", "chosen"] = "leave-out"
    splits: tuple[float, float, float] = (0.9, 0.05, 0.05)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    min_annotations: int = Field(default=1, ge=1, le=100)
    adjudicated: bool = True

    @field_validator("splits")
    @classmethod
    def _sum_to_one(cls, splits: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(splits) < 0 or abs(sum(splits) - 1) > 1e-9:
            raise ValueError("the three fractions must be 0 or more and sum to 1")
        return splits

    @field_validator("shapes", "formats")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(names))


@dataclass
class Tally:
    """What the card counts, gathered while the first files are written."""

    instances: int = 0
    unlabelled: int = 0
    not_a_preference: int = 0
    pairs: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    annotators: dict[str, set[int]] = field(default_factory=dict)
    guidelines: set[int] = field(default_factory=set)
    question_versions: set[int] = field(default_factory=set)
    annotations: int = 0
    cross: Counter[str] = field(default_factory=Counter)
    refinements: int = 0
    adjudicated: int = 0
    weighed: int = 0


def _texts(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages with the texts of their contents alone."""
    return [one | {"content": text_of(one["content"])} for one in messages]


class Pool:
    """The annotations of a task in one snapshot, pass after pass in the same order.

    Where a reviewer decided and the spec says that decisions count, the decision alone answers the questions that it
    answers; agreement and models of annotators see the votes only.
    """

    def __init__(
        self,
        source: Snapshot,
        task_id: int,
        spec: FreezeSpec,
        mix: dict[str, str] | None,
        beliefs: Mapping[str, float] | None = None,
    ) -> None:
        self._source, self._task_id, self.spec, self._mix = source, task_id, spec, mix
        self._beliefs = beliefs or {}
        name, questions, version = next(
            source.rows(Task.objects.filter(pk=task_id).values_list("name", "questions", "questions_version"))
        )
        self.task_name, self.questions, self.questions_version = name, parse_questions(questions), version
        self.question = ordering_question(self.questions, spec.question)
        people = Annotator.objects.filter(project__tasks=task_id)
        self.annotators: dict[int, Annotator] = {
            pk: Annotator(pk=pk, public_id=public_id, kind=kind, name=name)
            for pk, public_id, kind, name in source.rows(people.values_list("pk", "public_id", "kind", "name"))
        }
        self.pseudonyms = {pk: annotator.pseudonym for pk, annotator in self.annotators.items()}
        files = MediaFile.objects.filter(task=task_id).values_list("name", "sha256", "content_type")
        self.media = {name: File(sha256, content_type) for name, sha256, content_type in source.rows(files)}
        self.tally = Tally()
        self._surveyed = False
        self._alpha = _Reservoir(spec.seed)
        self._posterior: dict[tuple[int, Pair], int] = {}
        self._soft: np.ndarray[Any, Any] | None = None

    def size(self) -> int:
        """How many instances the pool has."""
        found = Instance.objects.filter(task=self._task_id, removed_at=None)
        return int(next(self._source.rows(found.values_list("task").annotate(n=Count("pk")).values_list("n")), (0,))[0])

    def labelled(self) -> Iterator[tuple[Held, list[Said]]]:
        """Every instance with its live annotations, by instance; both streams are read side by side."""
        annotations = (Said(*row) for row in self._source.rows(self._annotations()))
        groups = groupby(annotations, key=lambda said: said.instance_id)
        waiting = next(groups, None)
        for row in self._source.rows(self._instances(), chunk=200):
            held = Held(*row, *row[3:5])
            held = held._replace(prompt=_texts(held.prompt), completions=_texts(held.completions))
            while waiting is not None and waiting[0] < held.pk:
                waiting = next(groups, None)  # annotations of an instance that was removed
            if waiting is not None and waiting[0] == held.pk:
                yield held, list(waiting[1])
                waiting = next(groups, None)
            else:
                yield held, []

    def _instances(self) -> QuerySet[Any, Any]:
        rows = Instance.objects.filter(task=self._task_id, removed_at=None).order_by("pk")
        return rows.values_list("pk", "public_id", "external_id", "prompt", "completions", "prompt_hash", "meta")

    def _annotations(self) -> QuerySet[Any, Any]:
        states = [AnnotationState.SUBMITTED] + [AnnotationState.DECIDED] * self.spec.adjudicated
        rows = Annotation.objects.filter(task=self._task_id, state__in=states)
        columns = ("instance_id", "annotator_id", "source", "answers", "details", "public_id", "order")
        more = ("guideline__number", "questions_version", "active_ms", "submitted_at", "state")
        return rows.order_by("instance_id", "annotator_id").values_list(*columns, *more)

    def heard(self) -> Iterator[tuple[Held, list[Said], Said | None]]:
        """Every instance with its votes, and the decision that stands on it where it counts."""
        for held, said in self.labelled():
            decision = next((one for one in said if one.decided), None) if self.wanted(held) != "judge" else None
            yield held, [one for one in said if not one.decided], decision

    def wanted(self, held: Held) -> str | None:
        """Which source counts for this instance; ``None`` when a mix leaves it out."""
        if self.spec.sources != "mix":
            return self.spec.sources
        return (self._mix or {}).get(str(held.public_id))

    def compared(self, held: Held, said: list[Said]) -> dict[Pair, list[Comparison]]:
        """The comparisons of each pair of an instance, of every source."""
        pairs: dict[Pair, list[Comparison]] = {}
        if self.question is None:
            return pairs
        for one in said:
            ordered = comparisons(self.question, one.answers, len(held.completions), self.spec.pairs)
            for pair, (strength, bad) in (ordered or {}).items():
                p_a = one.details.get("p_a") if pair == (0, 1) and len(held.completions) == 2 else None
                pairs.setdefault(pair, []).append(Comparison(one.annotator_id, one.source, strength, bad, p_a))
        return pairs

    def gather(self) -> Iterator[int]:
        """For a model of annotators: a pass over all votes before any row; yields instances seen, now and then."""
        if self.spec.aggregation != "dawid-skene":
            return
        votes = _VoteArrays()
        for seen, (held, said, _) in enumerate(self.heard()):
            wanted = self.wanted(held)
            for pair, both in sorted(self.compared(held, said).items()):
                votes.add(
                    (held.pk, pair),
                    of_source(both, wanted) if wanted else [],
                    anonymous=bool(held.meta.get("anonymous_annotators")),
                )
            if seen % 1_000 == 0:
                yield seen
        self._posterior, self._soft = votes.aggregated()

    def _survey(self, held: Held, said: list[Said], pairs: dict[Pair, list[Comparison]]) -> None:
        """Count one instance for the card."""
        self.tally.instances += 1
        self.tally.unlabelled += not said
        self.tally.not_a_preference += bool(said) and not pairs and self.question is not None
        for both in pairs.values():
            self._agree(both)
        for one in said:
            self.tally.annotations += 1
            self.tally.said["judge" if one.source == "judge" else "human"] += 1
            self.tally.annotators.setdefault(one.source, set()).add(one.annotator_id)
            self.tally.question_versions.add(one.questions_version)
            if one.guideline is not None:
                self.tally.guidelines.add(one.guideline)

    def _agree(self, said: list[Comparison]) -> None:
        people = Counter(one.label for one in said if one.source != "judge" and one.label is not None)
        judges = Counter(one.label for one in said if one.source == "judge" and one.label is not None)
        m = people.total()
        self.tally.cross["human pairs"] += m * (m - 1) // 2
        self.tally.cross["human equal"] += sum(n * (n - 1) // 2 for n in people.values())
        self.tally.cross["judge pairs"] += m * judges.total()
        self.tally.cross["judge equal"] += sum(n * judges[label] for label, n in people.items() if label is not None)
        if m > 1:
            self._alpha.add((people[A], people[TIE], people[B]))

    def _count(self, result: Outcome | Drop) -> None:
        if not isinstance(result, Outcome):
            self.tally.dropped[result] += 1
            return
        self.tally.pairs["all"] += 1
        if result.label == TIE:
            self.tally.pairs["split" if result.split else "tie"] += 1
            if self.spec.ties == "drop":
                return
        self.tally.sources[source_of(result)] += 1

    def _result(self, held: Held, pair: Pair, said: list[Comparison], wanted: str) -> Outcome | Drop:
        p_a = self._beliefs.get(str(held.public_id)) if pair == (0, 1) else None
        if p_a is not None:
            self.tally.weighed += 1
            return weighed(said, p_a, minimum=self.spec.min_annotations)
        row = self._posterior.get((held.pk, pair))
        soft = None if row is None or self._soft is None else self._soft[row].tolist()
        return outcome(of_source(said, wanted), minimum=self.spec.min_annotations, posterior=soft)

    def rows(self, shape: Shape) -> Iterator[dict[str, Any]]:
        """The rows of one shape, by instance. The first call that is read to its end also fills :attr:`tally`."""
        first, self._surveyed = not self._surveyed, True
        make = ROWS[shape.name]
        for held, said, decision in self.heard():
            pairs = self.compared(held, said)
            wanted = self.wanted(held)
            results = self._results(held, pairs, decision, wanted) if wanted else []
            if first:
                self._survey(held, said, pairs)
                self.tally.adjudicated += decision is not None and wanted is not None
                for _, result in results:
                    self._count(result)
            refined = self._refinements(held, said, decision, wanted) if wanted else []
            if first:
                self.tally.refinements += len(refined)
                self.tally.sources.update(one.source for one in refined)
            if wanted:
                yield from make(shape, self._subject(held, said, decision, results, refined))

    def _results(
        self, held: Held, pairs: dict[Pair, list[Comparison]], decision: Said | None, wanted: str
    ) -> list[tuple[Pair, Outcome | Drop]]:
        """The aggregate of each pair: what the decision says of it, else what the votes do."""
        found = {pair: self._result(held, pair, both, wanted) for pair, both in pairs.items()}
        if decision is not None:
            found |= {pair: outcome(both) for pair, both in self.compared(held, [decision]).items()}
        return sorted(found.items(), key=lambda one: one[0])

    def _subject(
        self,
        held: Held,
        said: list[Said],
        decision: Said | None,
        results: list[tuple[Pair, Outcome | Drop]],
        refined: list[Refinement],
    ) -> Subject:
        kept = [
            (pair, result)
            for pair, result in results
            if isinstance(result, Outcome) and (result.label != TIE or self.spec.ties == "keep-half")
        ]
        wanted = self.wanted(held)
        counted = [one for one in said if wanted == "any" or (one.source == "judge") == (wanted == "judge")]
        split = split_of(held.prompt_hash, self.spec.splits, self.spec.seed)
        return Subject(held, counted, decision, kept, refined, split, self.questions, self.pseudonyms, self.media)

    def _refinements(self, held: Held, said: list[Said], decision: Said | None, wanted: str) -> list[Refinement]:
        if self.spec.refinements != "chosen":
            return []
        if decision is not None and any(
            one.name in decision.answers for one in self.questions if one.kind == "critique"
        ):
            said = [decision]
        critics = [Critic(one.annotator_id, one.source, one.answers) for one in said]
        return refinements(self.questions, critics, [str(one["content"]) for one in held.completions], wanted)

    def agreement(self) -> list[dict[str, Any]]:
        """The card's figures: Krippendorff's alpha of people with its interval, and raw agreement."""
        alpha = self._alpha.alpha(self.spec.seed)
        cross = self.tally.cross
        figures = [{"measure": "Krippendorff's alpha, people (a, tie, b)", "pairs": cross["human pairs"], **alpha}]
        for measure, key in (("Two people agree", "human"), ("A person and the judge agree", "judge")):
            pairs = cross[f"{key} pairs"]
            value = cross[f"{key} equal"] / pairs if pairs else None
            figures.append({"measure": measure, "value": value, "low": None, "high": None, "pairs": pairs})
        return figures


def shape_of(name: str, questions: Sequence[Question], spec: FreezeSpec) -> Shape:
    """The export shape of a name. Raises InvalidInput when these questions do not produce it as ``spec`` wants it."""
    kind = SHAPES[name]
    if not kind.fits(questions, spec.refinements == "chosen" and asks_refinement(questions)):
        raise InvalidInput(errors={"shapes": f"The shape {name} needs a task that asks {kind.needs}."})
    return kind.of(questions)


class _Reservoir:
    """A seeded uniform sample of items with two or more votes, as their counts per label."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._seen = 0
        self._items: list[tuple[int, int, int]] = []

    def add(self, counts: tuple[int, int, int]) -> None:
        self._seen += 1
        if len(self._items) < ALPHA_ITEMS:
            self._items.append(counts)
        elif (at := self._random.randrange(self._seen)) < ALPHA_ITEMS:
            self._items[at] = counts

    def alpha(self, seed: int) -> dict[str, Any]:
        if not self._items:
            return {"value": None, "low": None, "high": None, "items": 0}
        counts = np.array(self._items, dtype=np.int64)
        cells = np.repeat(np.arange(counts.size), counts.ravel())
        votes = Votes.of(cells // 3, np.zeros(cells.size, dtype=np.int64), cells % 3, n_labels=3)
        found = krippendorff_alpha(votes, bootstrap=BOOTSTRAP, seed=seed)
        return {"value": found.value, "low": found.low, "high": found.high, "items": self._seen}


class _VoteArrays:
    """Votes of all pairs in 12 bytes each, for a model of annotators."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, Pair], int] = {}
        self._annotators: dict[int, int] = {}
        self._item, self._annotator, self._label = array("i"), array("i"), array("i")

    def add(self, key: tuple[int, Pair], used: Sequence[Comparison], *, anonymous: bool) -> None:
        for one in used:
            if one.label is None:
                continue
            # people without a name are one annotator to the model: a slot number is no person
            who = -1 if anonymous and one.source != "judge" else one.annotator
            self._item.append(self._rows.setdefault(key, len(self._rows)))
            self._annotator.append(self._annotators.setdefault(who, len(self._annotators)))
            self._label.append(one.label)

    def aggregated(self) -> tuple[dict[tuple[int, Pair], int], np.ndarray[Any, Any] | None]:
        if not self._item:
            return {}, None
        triples = (np.array(column, dtype=np.int64) for column in (self._item, self._annotator, self._label))
        return self._rows, dawid_skene(Votes.of(*triples, n_labels=3)).posterior
