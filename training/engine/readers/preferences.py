"""Rows that say which completions are better: pairs, rankings, scores, good or bad."""

from collections.abc import Sequence
from dataclasses import replace

from training.engine.readers.groups import Row, edges_of, group_of
from training.engine.records import Group, Label, Preference, Text, number_of, text_of
from training.engine.render import plain_completion

FEW = "fewer than two completions to compare"


def pair(row: Row, place: str, margin_scale: float) -> Group:
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
    return group_of(row, place, (text_of(row, "chosen"), text_of(row, "rejected")), (edge,), labels)


def ordered(row: Row, place: str, margin_scale: float) -> Group:
    """Two completions as one text, in both orders: chosen first, and rejected first."""
    both = pair(row, place, margin_scale)
    chosen, rejected = (plain_completion(completion) for completion in both.completions)
    return replace(both, completions=(in_order(chosen, rejected), in_order(rejected, chosen)))


def in_order(first: str, second: str) -> str:
    """Two completions as a pair model reads them."""
    return f"First: {first}\n\nSecond: {second}"


def ranking(row: Row, place: str, margin_scale: float) -> Group:
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


def _listed(row: Row, place: str, texts: tuple[Text, ...], labels: tuple[Label, ...], at: Sequence[float]) -> Group:
    return group_of(row, place, texts, edges_of(labels, at), labels, unusable="" if len(texts) > 1 else FEW)


def rated(row: Row, place: str, margin_scale: float) -> Group:
    """One rated completion; `by_prompt` puts those of a prompt together."""
    del margin_scale
    if row.get("completion") is None:
        return group_of(row, place, (), (), (), unusable="rates the instance and no completion")
    completion, score = text_of(row, "completion"), number_of(row, "score", low=0, high=1)
    if score is None:
        return group_of(row, place, (completion,), (), (), unusable="has no score")
    return group_of(row, place, (completion,), (), (Label(1, score),))


def by_prompt(single: Sequence[Group], margin_scale: float) -> list[Group]:
    """The rated completions of each prompt as one list: equal texts once with their mean score, ranked by score."""
    found: dict[str, list[Group]] = {}
    for one in single:
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
        preferences = edges_of(labels, [-margin_scale * gain for gain in gains])
        few = "" if len(gains) > 1 else FEW
        whole = replace(members[0], completions=tuple(scores), preferences=preferences, labels=labels, unusable=few)
        lists.append(replace(whole, id=members[0].prompt_id))
    return [*lists, *(one for one in single if one.unusable)]


def unpaired(row: Row, place: str, margin_scale: float) -> Group:
    """One completion labelled good or bad."""
    del margin_scale
    if not isinstance(row.get("label"), bool):
        raise ValueError("label is neither true nor false")
    weight = number_of(row, "weight", low=0)
    label = Label(gain=float(row["label"]), weight=1.0 if weight is None else weight)
    return group_of(row, place, (text_of(row, "completion"),), (), (label,))
