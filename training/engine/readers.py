"""Rows of a dataset version → groups: one reader for each kind of feedback, see `catalogue.Objective.consumes`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from training.engine.errors import RunError
from training.engine.files import sha256_json
from training.engine.records import Group, Label, Preference, Text, file_rows, number_of, text_of
from training.engine.render import plain_completion
from training.objectives.catalogue import Reader

_SHOWN_ERRORS = 20
Row = dict[str, Any]


def read_groups(paths: Sequence[str], reader: Reader = "pair", *, margin_scale: float = 0.0) -> list[Group]:
    """Groups of all rows of the files, in order. An edge's margin is `margin_scale` × how far apart its sides are.

    Raises RunError naming the rows that cannot be read.
    """
    groups: list[Group] = []
    faults: list[tuple[str, str]] = []
    for path in paths:
        for place, row in file_rows(Path(path)):
            try:
                if not isinstance(row, dict):
                    raise ValueError("is not a JSON object")
                groups.append(_READERS[reader](row, place, margin_scale))
            except ValueError as error:
                faults.append((place, str(error)))
    if faults:
        first = "; ".join(f"{place}: {reason}" for place, reason in faults[:3])
        raise RunError(f"{len(faults)} rows cannot be read: {first}.", [place for place, _ in faults[:_SHOWN_ERRORS]])
    return _by_prompt(groups, margin_scale) if reader == "ratings" else groups


def _pair(row: Row, place: str, margin_scale: float) -> Group:
    """A chosen and a rejected completion.

    They are apart by `margin`, or else |strength|. P(chosen better) is `soft_label`, or else 1/2 where the strength
    is 0 (a tie), else 1.
    """
    strength, apart = number_of(row, "strength"), number_of(row, "margin", low=0)
    soft, weight = number_of(row, "soft_label", low=0, high=1), number_of(row, "weight", low=0)
    probability = soft if soft is not None else (0.5 if strength == 0 else 1.0)
    edge = Preference(
        left=0,
        right=1,
        weight=1.0 if weight is None else weight,
        margin=margin_scale * (abs(strength or 0.0) if apart is None else apart),
        probability=probability,
    )
    tie = probability == 0.5
    labels = (Label(1, 0.5 if tie else 1.0, edge.weight), Label(1 if tie else 2, 0.5 if tie else 0.0, edge.weight))
    return _group(row, place, (text_of(row, "chosen"), text_of(row, "rejected")), (edge,), labels)


def _ranking(row: Row, place: str, margin_scale: float) -> Group:
    """Completions with their ranks from 1; one without a rank is left out. Each pair of different ranks is an edge,
    as far apart as the ranks are; equal ranks are a tie."""
    texts, ranks = row.get("completions"), row.get("ranks")
    if not isinstance(texts, list) or not isinstance(ranks, list) or len(texts) != len(ranks):
        raise ValueError("completions and ranks are not two lists of one length")
    if any(rank is not None and (isinstance(rank, bool) or not isinstance(rank, int) or rank < 1) for rank in ranks):
        raise ValueError("ranks are not whole numbers from 1")
    ranked = [(text_of({"completion": text}, "completion"), rank) for text, rank in zip(texts, ranks, strict=True)]
    kept = [(text, rank) for text, rank in ranked if rank is not None]
    places = [rank for _, rank in kept]
    last = max(places, default=1)
    labels = tuple(Label(rank, (last - rank) / (last - 1) if last > 1 else 0.5) for rank in places)
    return _listed(row, place, tuple(text for text, _ in kept), labels, [margin_scale * rank for rank in places])


def _rated(row: Row, place: str, margin_scale: float) -> Group:
    """One rated completion; `_by_prompt` puts those of a prompt together."""
    del margin_scale
    if row.get("completion") is None:
        return _group(row, place, (), (), (), unusable="rates the instance and no completion")
    completion, score = text_of(row, "completion"), number_of(row, "score", low=0, high=1)
    if score is None:
        return _group(row, place, (completion,), (), (), unusable="has no score")
    return _group(row, place, (completion,), (), (Label(1, score),))


def _by_prompt(rated: Sequence[Group], margin_scale: float) -> list[Group]:
    """The rated completions of each prompt as one list: equal texts once with their mean score, ranked by score."""
    found: dict[str, list[Group]] = {}
    for one in rated:
        if not one.unusable:
            found.setdefault(one.prompt_id, []).append(one)
    lists = []
    for members in found.values():
        scores: dict[Text, list[float]] = {}
        for one in members:
            scores.setdefault(one.completions[0], []).append(one.labels[0].gain)
        gains = [sum(values) / len(values) for values in scores.values()]
        places = {gain: place for place, gain in enumerate(sorted(set(gains), reverse=True), 1)}
        labels = tuple(Label(places[gain], gain) for gain in gains)
        preferences = _edges(labels, [-margin_scale * gain for gain in gains])
        few = "" if len(gains) > 1 else _FEW
        whole = replace(members[0], completions=tuple(scores), preferences=preferences, labels=labels, unusable=few)
        lists.append(replace(whole, id=members[0].prompt_id))
    return [*lists, *(one for one in rated if one.unusable)]


def _unpaired(row: Row, place: str, margin_scale: float) -> Group:
    """One completion labelled good or bad."""
    del margin_scale
    if not isinstance(row.get("label"), bool):
        raise ValueError("label is neither true nor false")
    weight = number_of(row, "weight", low=0)
    label = Label(gain=float(row["label"]), weight=1.0 if weight is None else weight)
    return _group(row, place, (text_of(row, "completion"),), (), (label,))


def _demonstration(row: Row, place: str, margin_scale: float) -> Group:
    """A completion to imitate."""
    del margin_scale
    return _imitated(row, place, text_of(row, "completion"))


def _controlled(row: Row, place: str, margin_scale: float) -> Group:
    """A rated completion, after its prompt with a line that says the ratings: `[helpful: 4/5, short: 1/3]`."""
    del margin_scale
    ratings = row.get("ratings") or []
    if not isinstance(ratings, list) or any(not _is_rating(one) for one in ratings):
        raise ValueError("ratings are no list of scale, value and highest value")
    if row.get("completion") is None:
        return _imitated(row, place, "", "rates the instance and no completion")
    line = ", ".join(f"{one['scale']}: {one['value']}/{one['high']}" for one in ratings)
    group = _imitated(row, place, text_of(row, "completion"), "" if line else "has no rating")
    return replace(group, prompt=_continued(group.prompt, f"[{line}]"))


def _ordered(row: Row, place: str, margin_scale: float) -> Group:
    """Two completions as one text, in both orders: chosen first, and rejected first."""
    pair = _pair(row, place, margin_scale)
    chosen, rejected = (plain_completion(completion) for completion in pair.completions)
    return replace(pair, completions=(in_order(chosen, rejected), in_order(rejected, chosen)))


def in_order(first: str, second: str) -> str:
    """Two completions as a pair model reads them."""
    return f"First: {first}\n\nSecond: {second}"


def _is_rating(one: Any) -> bool:
    return isinstance(one, dict) and {"scale", "value", "high"} <= one.keys()


def _hindsight(row: Row, place: str, margin_scale: float) -> Group:
    """The rejected completion, then the chosen one."""
    pair = _pair(row, place, margin_scale)
    good, bad = (plain_completion(completion) for completion in pair.completions)
    tie = "a tie has no better side" if pair.preferences[0].probability == 0.5 else ""
    if pair.preferences[0].probability < 0.5:
        good, bad = bad, good
    return _imitated(row, place, f"Bad: {bad}\n\nGood: {good}", tie)


def _criticised(row: Row, place: str, margin_scale: float) -> Group:
    """A completion, what was said of it, and its refinement."""
    refined = _refined(row, place, margin_scale)
    critique = str(row.get("critique") or "").strip()
    said = f"\n\nCritique: {critique}" if critique else ""
    story = f"Bad: {plain_completion(text_of(row, 'completion'))}{said}\n\nGood: "
    return replace(refined, completions=(story + plain_completion(refined.completions[0]),))


def _refined(row: Row, place: str, margin_scale: float) -> Group:
    """The refinement of a completion."""
    del margin_scale
    if row.get("refinement") is None:
        return _imitated(row, place, "", "has no refinement")
    return _imitated(row, place, text_of(row, "refinement"))


def _continued(prompt: Text, line: str) -> Text:
    """A prompt with a line more, in its last message."""
    if isinstance(prompt, str):
        return f"{prompt}\n\n{line}"
    return (*prompt[:-1], prompt[-1] | {"content": f"{prompt[-1]['content']}\n\n{line}"})


def _imitated(row: Row, place: str, completion: Text, unusable: str = "") -> Group:
    weight = number_of(row, "weight", low=0)
    label = Label(gain=1.0, weight=1.0 if weight is None else weight)
    return _group(row, place, (completion,), (), (label,), unusable)


_FEW = "fewer than two completions to compare"


def _listed(row: Row, place: str, texts: tuple[Text, ...], labels: tuple[Label, ...], at: Sequence[float]) -> Group:
    return _group(row, place, texts, _edges(labels, at), labels, unusable="" if len(texts) > 1 else _FEW)


def _edges(labels: Sequence[Label], at: Sequence[float]) -> tuple[Preference, ...]:
    """Every pair of completions: the better one left, or a tie. `at` says where each is, for the margins."""
    edges = []
    for one, other in combinations(range(len(labels)), 2):
        left, right = (one, other) if labels[one].rank <= labels[other].rank else (other, one)
        tie = labels[left].rank == labels[right].rank
        edges.append(Preference(left, right, margin=abs(at[left] - at[right]), probability=0.5 if tie else 1.0))
    return tuple(edges)


def _group(
    row: Row,
    place: str,
    completions: tuple[Text, ...],
    preferences: tuple[Preference, ...],
    labels: tuple[Label, ...],
    unusable: str = "",
) -> Group:
    prompt = text_of(row, "prompt")
    return Group(
        id=str(row.get("id") or place),
        prompt_id=str(row.get("prompt_id") or sha256_json(prompt)),
        source=str(row.get("source") or "unknown"),
        prompt=prompt,
        completions=completions,
        preferences=preferences,
        labels=labels,
        unusable=unusable,
    )


_READERS: Mapping[Reader, Callable[[Row, str, float], Group]] = {
    "pair": _pair,
    "ranking": _ranking,
    "ratings": _rated,
    "unpaired": _unpaired,
    "demonstration": _demonstration,
    "controlled": _controlled,
    "hindsight": _hindsight,
    "criticised": _criticised,
    "refined": _refined,
    "ordered": _ordered,
}
