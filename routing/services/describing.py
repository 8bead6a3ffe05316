"""Texts → features, kept: what was described once is read back, and what was described elsewhere is copied.

An instance's texts never change, so its row stands for as long as the recipe does, which names its version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import Exists, OuterRef, QuerySet
from numpy.typing import NDArray

from feedback.content import text_of
from feedback.models import Instance, Task
from routing.features.columns import own_columns, with_columns, without_sources
from routing.features.table import (
    EMBEDDED,
    FORMAT_VERSION,
    SEED,
    Encoder,
    FeatureSet,
    FeatureTable,
    describe_pairs,
    embeddings_of,
)
from routing.features.tagged import Options, Prompts, TagReport, Tags, joined, tag_columns
from routing.features.texts import PairText, content_key
from routing.judge.tagging import DIMENSIONS

from ..models import PairDescription
from . import encoders, requests, tagging
from .encoders import Way

AT_ONCE = 500
READ_AT_ONCE = 2000
MOST_NAME = 80
MOST_TAGS = 50
FLOAT = np.dtype("<f4")
NOT_ASKED = ("",)

Tell = Callable[[int, int], None]
Integers = NDArray[np.int64]
Singles = NDArray[np.float32]


@dataclass(frozen=True)
class Described:
    """A task's two-completion instances: features with the columns that count, a prompt category where the import gave
    one, and numbers for each one's prompt and completions [N], so that equal ones are known as such. ``own`` are all
    columns of tags and metadata, also those that are left out; ``tagged`` says what became of each option of a language
    model's tags."""

    ids: tuple[int, ...]
    public_ids: tuple[str, ...]
    features: FeatureSet
    categories: tuple[str, ...]
    group: Integers
    a: Integers
    b: Integers
    own: FeatureTable
    tagged: tuple[TagReport, ...]
    way: Way

    @property
    def recipe(self) -> str:
        return self.way.recipe

    @property
    def why(self) -> str:
        """Why texts are embedded as they are, in a sentence."""
        return self.way.why

    @property
    def own_counting(self) -> tuple[str, ...]:
        """The names of the columns that count beside those of the texts."""
        return self.features.table.names[len(self.way.names) :]


@dataclass(frozen=True)
class _Fact:
    """What is read of an instance beside its features."""

    pk: int
    public_id: str
    prompt: str
    meta: Mapping[str, Any]
    marks: Mapping[str, str]
    a: int
    b: int


def described(task: Task, left_out: Iterable[str] = (), tell: Tell | None = None) -> Described:
    """The features of a task's pool. What nobody described yet is described now; ``tell`` hears how far that is.

    ``left_out`` names tags and metadata fields (:func:`routing.features.columns.source_of`) that do not count.
    """
    way = described_by(task, tell)
    facts, values, difference = _read(task, way)
    own = own_columns([tags_of(one.meta) for one in facts], [fields_of(one.meta, one.marks) for one in facts])
    group = _numbers([one.prompt for one in facts])
    tables, reports = _tagged(task, way, facts, group)
    counting = without_sources(joined([own, *tables], len(facts)), left_out)
    features = FeatureSet(FeatureTable(way.names, values), difference, way.recipe)
    completions = _numbers([(one.prompt, one.a) for one in facts] + [(one.prompt, one.b) for one in facts])
    return Described(
        ids=tuple(one.pk for one in facts),
        public_ids=tuple(one.public_id for one in facts),
        features=with_columns(features, counting),
        categories=tuple(str(one.meta.get("category", ""))[:MOST_NAME] for one in facts),
        group=group,
        a=completions[: len(facts)],
        b=completions[len(facts) :],
        own=own,
        tagged=tuple(reports),
        way=way,
    )


def described_by(task: Task, tell: Tell | None = None) -> Way:
    """Describe what is missing, and say how: by the installed encoder, or hashed where that cannot be used here."""
    way = encoders.way()
    try:
        describe_missing(task, way, tell)
    except encoders.NoEncoder as error:
        way = encoders.hashed(str(error))
        describe_missing(task, way, tell)
    return way


def _tagged(
    task: Task, way: Way, facts: Sequence[_Fact], group: Integers
) -> tuple[list[FeatureTable], list[TagReport]]:
    """A language model's tags as columns, dimension by dimension; embeddings are read where some have to be learned."""
    tables: list[FeatureTable] = []
    reports: list[TagReport] = []
    prompts: Prompts | None = None
    for name, by_instance in tagging.said_of(task).items():
        said = [by_instance.get(one.pk, NOT_ASKED) for one in facts]
        given: list[Tags] = [None if one is NOT_ASKED else one or () for one in said]
        if prompts is None and len(by_instance) < len(facts):
            prompts = _prompts(task, way, len(facts))
        dimension = DIMENSIONS[name]
        options = Options(name, tuple(dimension.options), dimension.multiple)
        table, told = tag_columns(options, given, group, prompts)
        tables.append(table)
        reports += told
    return tables, reports


def _prompts(task: Task, way: Way, size: int) -> Prompts | None:
    """The embeddings of the pool's prompts in its order; ``None`` if the pool changed in between."""
    rows = _kept(task, way).order_by("instance_id").values_list("prompt", flat=True)
    read = [bytes(row) for row in rows.iterator(chunk_size=READ_AT_ONCE) if row is not None]
    return Prompts(_matrix(read, way.width)) if len(read) == size else None


def tags_of(meta: Mapping[str, Any]) -> list[str]:
    """The team's own tags of an instance: the words of its metadata field ``tags``."""
    given = meta.get("tags")
    words = given.split(",") if isinstance(given, str) else given if isinstance(given, list) else []
    return [one.strip()[:MOST_NAME] for one in words[:MOST_TAGS] if isinstance(one, str) and one.strip()]


def fields_of(meta: Mapping[str, Any], marks: Mapping[str, str]) -> dict[str, object]:
    """Metadata that can be a column (words and numbers), with the instance's language and skill where it has them."""
    kept = {name: value for name, value in meta.items() if name != "tags" and isinstance(value, str | int | float)}
    named: dict[str, object] = {name.strip()[:MOST_NAME]: value for name, value in kept.items()}
    return named | {name: value for name, value in marks.items() if value}


def describe_missing(task: Task, way: Way, tell: Tell | None = None) -> int:
    """Describe the instances that are not described by this recipe; what an older version left is thrown away.

    Each batch stands when it is written: a job that is taken up again goes on where it was. Returns how many. Raises
    NoEncoder before anything is written where it takes an encoder that this worker cannot use.
    """
    known = PairDescription.objects.filter(instance=OuterRef("pk"), recipe=way.recipe)
    missing = Instance.objects.filter(~Exists(known), task=task, removed_at=None).order_by("pk")
    total, done, last = missing.count(), 0, 0
    encoder = encoders.encoder_of(way) if total else None
    if tell and total:
        tell(0, total)
    while done < total and (batch := list(missing.filter(pk__gt=last)[:AT_ONCE])):
        PairDescription.objects.bulk_create(_rows_of(batch, way, encoder), ignore_conflicts=True)
        done, last = done + len(batch), batch[-1].pk
        if tell:
            tell(done, total)
    if done:
        older = PairDescription.objects.exclude(recipe__startswith=f"{FORMAT_VERSION}-")
        older.filter(instance__task=task).delete()
    return done


def _rows_of(batch: Sequence[Instance], way: Way, encoder: Encoder | None) -> list[PairDescription]:
    """A row for each instance; one without two completions has no values, so that it is not looked at again."""
    pairs = {instance.pk: pair for instance in batch if (pair := pair_text(instance))}
    keys = {pk: content_key(pair) for pk, pair in pairs.items()}
    rows = _made_before(set(keys.values()), way)
    fresh = {keys[pk]: pair for pk, pair in pairs.items() if keys[pk] not in rows}
    rows |= dict(zip(fresh, _described_rows(list(fresh.values()), encoder), strict=True))
    return [_row(instance, way, keys.get(instance.pk, ""), rows) for instance in batch]


def _row(instance: Instance, way: Way, key: str, rows: Mapping[str, PairDescription]) -> PairDescription:
    like = rows.get(key, PairDescription())
    return PairDescription(
        instance=instance,
        recipe=way.recipe,
        content_key=key,
        completion_a=like.completion_a,
        completion_b=like.completion_b,
        values=like.values,
        difference=like.difference,
        prompt=like.prompt,
    )


def _made_before(keys: set[str], way: Way) -> dict[str, PairDescription]:
    """Descriptions of the same texts, whichever task they were made for."""
    same = PairDescription.objects.filter(recipe=way.recipe, content_key__in=keys)
    return {row.content_key: row for row in same.order_by("pk")}


def _described_rows(pairs: Sequence[PairText], encoder: Encoder | None) -> list[PairDescription]:
    features = describe_pairs(pairs, encoder=encoder)
    prompts = embeddings_of([pair.prompt for pair in pairs], EMBEDDED, SEED, encoder)
    return [
        PairDescription(
            completion_a=_text_key(pair.a),
            completion_b=_text_key(pair.b),
            values=features.table.values[row].astype(FLOAT).tobytes(),
            difference=features.difference[row].astype(FLOAT).tobytes(),
            prompt=prompts[row].astype(FLOAT).tobytes(),
        )
        for row, pair in enumerate(pairs)
    ]


def _text_key(text: str) -> int:
    """63 bits over a text: equal texts are known by it."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def pair_text(instance: Instance) -> PairText | None:
    """The texts that features are made of; ``None`` unless there are two completions."""
    texts = instance.completion_texts()
    if len(texts) != 2:
        return None
    messages = [{"role": str(m["role"]), "content": text_of(m["content"])} for m in instance.prompt]
    return PairText.from_messages(messages, texts[0], texts[1])


def _read(task: Task, way: Way) -> tuple[list[_Fact], Singles, Singles]:
    """The pool's rows in the order of import: facts [N], values [N, F] and differences [N, d]."""
    columns = (
        *("instance_id", "instance__public_id", "instance__prompt_hash", "instance__meta", "instance__lang"),
        *("instance__skill", "completion_a", "completion_b", "values", "difference"),
    )
    facts: list[_Fact] = []
    decided = requests.with_skill_asked(task)  # by a plan: no feature of the instance
    values, differences = [np.zeros((0, len(way.names)), np.float32)], [np.zeros((0, way.width), np.float32)]
    batch: list[Any] = []
    for row in _kept(task, way).order_by("instance_id").values_list(*columns).iterator(chunk_size=READ_AT_ONCE):
        pk, public_id, prompt, meta, lang, skill, a, b, *_ = row
        marks = {"language": lang, "skill": "" if pk in decided else skill}
        facts.append(_Fact(pk, str(public_id), prompt, meta if isinstance(meta, dict) else {}, marks, a, b))
        batch.append(row[-2:])
        if len(batch) == READ_AT_ONCE:
            values.append(_matrix([one for one, _ in batch], len(way.names)))
            differences.append(_matrix([one for _, one in batch], way.width))
            batch = []
    values.append(_matrix([one for one, _ in batch], len(way.names)))
    differences.append(_matrix([one for _, one in batch], way.width))
    return facts, np.concatenate(values), np.concatenate(differences)


def _kept(task: Task, way: Way) -> QuerySet[PairDescription]:
    return PairDescription.objects.filter(
        instance__task=task, instance__removed_at=None, recipe=way.recipe, values__isnull=False
    )


def _matrix(rows: Sequence[bytes], width: int) -> Singles:
    return np.frombuffer(b"".join(rows), dtype=FLOAT).reshape(len(rows), width).astype(np.float32)


def _numbers(keys: Sequence[object]) -> Integers:
    seen: dict[object, int] = {}
    return np.array([seen.setdefault(key, len(seen)) for key in keys], dtype=np.int64)
