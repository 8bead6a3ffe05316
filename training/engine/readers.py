"""Rows of a dataset version → groups: one reader for each kind of feedback, see `catalogue.Objective.consumes`."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np

from training.engine.errors import RunError
from training.engine.files import sha256_json
from training.engine.records import Group, Label, Mark, Preference, Text, continued, file_rows, number_of, text_of
from training.engine.render import plain_completion
from training.objectives.catalogue import Objective, Reader

_SHOWN_ERRORS = 20
Row = dict[str, Any]


def read_groups(
    paths: Sequence[str],
    reader: Reader = "pair",
    *,
    margin_scale: float = 0.0,
    directions: int = 1,
    unmarked: Literal["clean", "skip"] = "clean",
) -> list[Group]:
    """Groups of all rows of the files, in order. An edge's margin is `margin_scale` × how far apart its sides are.
    `directions` and `unmarked` are the options of that name.

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
    match reader:
        case "ratings":
            return _by_prompt(groups, margin_scale)
        case "attributes":
            return together(groups)
        case "directed":
            return [one for group in together(groups) for one in directed(group, directions)]
        case "marked" if unmarked == "skip":
            return [_only_marked(group) for group in groups]
        case _:
            return groups


def _pair(row: Row, place: str, margin_scale: float) -> Group:
    """A chosen and a rejected completion.

    They are apart by `margin`, or else |strength|. P(chosen better) is `soft_label`, or else 1/2 where the strength
    is 0 (a tie), else 1.
    """
    strength, apart = number_of(row, "strength"), number_of(row, "margin", low=0)
    soft, weight = number_of(row, "soft_label", low=0, high=1), number_of(row, "weight", low=0)
    probability = soft if soft is not None else (0.5 if strength == 0 else 1.0)
    gap = abs(strength or 0.0) if apart is None else apart
    edge = Preference(
        left=0,
        right=1,
        weight=1.0 if weight is None else weight,
        margin=margin_scale * gap,
        probability=probability,
        gap=gap,
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
    return replace(group, prompt=continued(group.prompt, f"[{line}]"))


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


def _imitated(row: Row, place: str, completion: Text, unusable: str = "") -> Group:
    weight = number_of(row, "weight", low=0)
    label = Label(gain=1.0, weight=1.0 if weight is None else weight)
    return _group(row, place, (completion,), (), (label,), unusable)


def _attributed(row: Row, place: str, margin_scale: float) -> Group:
    """One rated completion with its value on each scale, from 0 (the lowest) to 1; `together` joins those of a
    prompt."""
    del margin_scale
    ratings = row.get("ratings") or []
    if not isinstance(ratings, list) or any(not _is_scaled(one) for one in ratings):
        raise ValueError("ratings are no list of scale, value, lowest and highest value")
    if row.get("completion") is None:
        return _group(row, place, (), (), (), unusable="rates the instance and no completion")
    values = tuple((str(one["scale"]), (one["value"] - one["low"]) / (one["high"] - one["low"])) for one in ratings)
    unusable = "" if values else "has no rating"
    return _group(row, place, (text_of(row, "completion"),), (), (Label(attributes=values),), unusable)


def _is_scaled(one: Any) -> bool:
    return _is_rating(one) and "low" in one and one["low"] < one["high"] and one["low"] <= one["value"] <= one["high"]


def together(rated: Sequence[Group]) -> list[Group]:
    """The rated completions of each prompt as one group: equal texts once, with the mean of each attribute."""
    found: dict[str, list[Group]] = {}
    for one in rated:
        if not one.unusable:
            found.setdefault(one.prompt_id, []).append(one)
    groups = []
    for prompt_id, members in found.items():
        told: dict[Text, dict[str, list[float]]] = {}
        for one in members:
            of_text = told.setdefault(one.completions[0], {})
            for name, value in one.labels[0].attributes:
                of_text.setdefault(name, []).append(value)
        labels = tuple(
            Label(attributes=tuple((name, sum(values) / len(values)) for name, values in sorted(of_text.items())))
            for of_text in told.values()
        )
        groups.append(replace(members[0], id=prompt_id, completions=tuple(told), labels=labels))
    return [*groups, *(one for one in rated if one.unusable)]


def traits_of(objective: Objective, groups: Sequence[Group]) -> tuple[str, ...]:
    """The names that a model's scores stand for, where its data say: the attributes rated in the groups, or the error
    types marked in them, in alphabetical order. Raises RunError where an objective that learns them has none."""
    labels = [label for group in groups if not group.unusable for label in group.labels]
    if "segments" in objective.needs:
        names = {mark.type for label in labels for mark in label.marks or ()}
        lacking = "no marked span"
    elif "rewards" in objective.needs:
        names = {name for label in labels for name, _ in label.attributes}
        lacking = "no rating"
    else:
        return ()
    if not names:
        raise RunError(f"The training rows hold {lacking}.")
    return tuple(sorted(names))


def valued(groups: Sequence[Group], names: Sequence[str]) -> list[Group]:
    """The groups with their attributes as `Label.values`, by the list of names; others than those are left out."""
    return [
        replace(group, labels=tuple(_valued(label, names) for label in group.labels))
        if any(label.attributes for label in group.labels)
        else group
        for group in groups
    ]


def _valued(label: Label, names: Sequence[str]) -> Label:
    told = dict(label.attributes)
    return replace(label, values=tuple(told.get(name, math.nan) for name in names))


def directed(group: Group, directions: int) -> list[Group]:
    """For each of some directions: the completion that reaches furthest in it, after a line that says the direction.

    Completions that lack one of the prompt's attributes are left out: they reach no known way.
    """
    if group.unusable:
        return [group]
    names = sorted({name for label in group.labels for name, _ in label.attributes})
    whole = [
        (text, dict(label.attributes))
        for text, label in zip(group.completions, group.labels, strict=True)
        if len(label.attributes) == len(names)
    ]
    if not whole:
        return [replace(group, unusable="no completion is rated on all scales of its prompt")]
    found = []
    for number, direction in enumerate(drawn_directions(group.prompt_id, len(names), directions)):
        reach = [sum(part * values[name] for part, name in zip(direction, names, strict=True)) for _, values in whole]
        best = whole[max(range(len(whole)), key=reach.__getitem__)][0]
        found.append(
            replace(
                group,
                id=f"{group.id}-{number}",
                prompt=continued(group.prompt, direction_line(dict(zip(names, direction, strict=True)))),
                completions=(best,),
                labels=(Label(gain=1.0),),
            )
        )
    return found


def drawn_directions(prompt_id: str, attributes: int, count: int) -> list[tuple[float, ...]]:
    """`count` unit vectors of `attributes` parts >= 0, uniform on that part of the sphere; by the prompt alone."""
    seed = int.from_bytes(hashlib.sha256(prompt_id.encode()).digest()[:8], "big")
    drawn = np.abs(np.random.default_rng(seed).normal(size=(count, attributes)))
    return [tuple(float(part) for part in one) for one in drawn / np.linalg.norm(drawn, axis=1, keepdims=True)]


def direction_line(direction: Mapping[str, float]) -> str:
    """How a direction stands in a prompt: `[helpful: 0.80, short: 0.60]`. Raises ValueError unless it has length 1."""
    if not math.isclose(math.hypot(*direction.values()), 1, abs_tol=0.01):
        raise ValueError("a direction must have length 1: the squares of its parts sum to 1")
    return f"[{', '.join(f'{name}: {part:.2f}' for name, part in direction.items())}]"


def _marked(row: Row, place: str, margin_scale: float) -> Group:
    """Completions with the spans marked in them. What lacks less is better, where two are judged."""
    texts, said = row.get("completions"), row.get("feedback")
    if not isinstance(texts, list) or not texts or not isinstance(said, dict):
        raise ValueError("completions and feedback are not a list and an object")
    completions = tuple(text_of(text if isinstance(text, dict) else {"content": text}, "content") for text in texts)
    marks: list[list[Mark]] = [[] for _ in completions]
    lacking = [0] * len(completions)
    for error in said.get("errors") or []:
        target = _target(error, len(completions))
        if target is not None:
            marks[target].append(_mark(error, plain_completion(completions[target])))
    for missing in said.get("missing-info") or []:
        target = _target(missing, len(completions))
        if target is not None:
            lacking[target] += 1
    labels = tuple(Label(rank=1 + one, marks=tuple(own)) for one, own in zip(lacking, marks, strict=True))
    preferences = tuple(
        edge for edge in _edges(labels, [margin_scale * one for one in lacking]) if edge.probability != 0.5
    )
    return _group(row, place, completions, preferences, labels)


def _target(said: Any, completions: int) -> int | None:
    """Which completion is meant; None for a message of the prompt."""
    target = said.get("target") if isinstance(said, dict) else None
    if isinstance(target, bool) or not isinstance(target, int) or target >= completions:
        raise ValueError("feedback has an error without a completion of this row")
    return target if target >= 0 else None


def _mark(error: Row, text: str) -> Mark:
    start, end, kind = error.get("start"), error.get("end"), error.get("error type")
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end <= len(text):
        raise ValueError("a span is no part of its completion")
    if not isinstance(kind, str) or not kind:
        raise ValueError("a span has no error type")
    return Mark(start, end, kind)


def _only_marked(group: Group) -> Group:
    """The group with completions that nobody marked taken as not judged: nothing is known of their errors."""
    judged = [bool(label.marks) or label.rank > 1 for label in group.labels]
    labels = tuple(
        label if use else replace(label, marks=None) for label, use in zip(group.labels, judged, strict=True)
    )
    edges = tuple(edge for edge in group.preferences if judged[edge.left] and judged[edge.right])
    return replace(group, labels=labels, preferences=edges, unusable="" if any(judged) else "has no mark")


_FEW = "fewer than two completions to compare"


def _listed(row: Row, place: str, texts: tuple[Text, ...], labels: tuple[Label, ...], at: Sequence[float]) -> Group:
    return _group(row, place, texts, _edges(labels, at), labels, unusable="" if len(texts) > 1 else _FEW)


def _edges(labels: Sequence[Label], at: Sequence[float]) -> tuple[Preference, ...]:
    """Every pair of completions: the better one left, or a tie. `at` says where each is, for the margins."""
    edges = []
    for one, other in combinations(range(len(labels)), 2):
        left, right = (one, other) if labels[one].rank <= labels[other].rank else (other, one)
        tie = labels[left].rank == labels[right].rank
        gap, margin = abs(labels[left].gain - labels[right].gain), abs(at[left] - at[right])
        edges.append(Preference(left, right, margin=margin, probability=0.5 if tie else 1.0, gap=gap))
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
        prompt_id=prompt_id_of(row),
        source=str(row.get("source") or "unknown"),
        prompt=prompt,
        completions=completions,
        preferences=preferences,
        labels=labels,
        unusable=unusable,
    )


def prompt_id_of(row: Row) -> str:
    """What tells a row's prompt from others: its `prompt_id`, else a hash of the prompt. Raises ValueError for a row
    without a prompt."""
    return str(row.get("prompt_id") or sha256_json(text_of(row, "prompt")))


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
    "attributes": _attributed,
    "directed": _attributed,
    "marked": _marked,
}
