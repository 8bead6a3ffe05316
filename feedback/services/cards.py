"""The card of a dataset version: what it was made from, by which rules, and what was left out, in words."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..models import DatasetVersion
from .freezing import Pool

RULES = {
    "majority": "Majority of the votes over a, tie and b; a shared first place is a tie.",
    "dawid-skene": "Dawid–Skene over a, tie and b: the most probable label given each annotator's error rates. "
    "People without a name count as one annotator.",
    "posterior": "Where people and the judge both spoke, soft_label is the posterior of all of it: a person's label "
    "weighed by the person's accuracy and the slice's, the judge's by what people said of it elsewhere. Where only one "
    "spoke, the majority.",
}
TIES = {
    "drop": "left out, split votes among them",
    "keep-half": "kept with soft_label 0.5 and margin 0, the completion stored first as chosen",
}
PAIRS = {
    "all": "every two completions that it ranks",
    "adjacent": "every two completions of the same or the next rank",
    "best-worst": "every completion of its first rank with every one of its last",
}
SOURCES = {
    "any": "people where they annotated, otherwise the judge",
    "human": "people only",
    "judge": "the judge only",
    "mix": "for each instance the source that the preference mix says",
}


def card_of(version: DatasetVersion, pool: Pool) -> dict[str, Any]:
    """What the card says, once the first files are written; see :class:`feedback.formats.card.Card`."""
    tally, spec = pool.tally, pool.spec
    by_source = _rows_by_source(pool)
    used = by_source.total()
    share = {f"{kind}_share": by_source[kind] / used if used else None for kind in ("human", "judge")}
    return {
        "title": f"{pool.task_name}, version {version.number}",
        "description": "Frozen by Tiebreak. A version never changes; its files are listed in manifest.json.",
        "version": version.number,
        "created_at": version.created_at.isoformat(timespec="seconds"),
        "source": SOURCES[spec.sources],
        "guideline_versions": sorted(tally.guidelines),
        "question_versions": sorted(tally.question_versions),
        "annotators": _annotators(pool),
        "agreement": pool.agreement() if pool.question else [],
        **share,
        **_rules(pool),
        "consent": "not recorded",
        "notes": _notes(pool),
        "counts": _counts(pool),
    }


def _rows_by_source(pool: Pool) -> Counter[str]:
    """Pairs by whose comparisons they rest on; annotations where nothing is compared."""
    return pool.tally.sources if pool.question or pool.tally.refinements else pool.tally.said


def _rules(pool: Pool) -> dict[str, Any]:
    tally, spec = pool.tally, pool.spec
    if pool.question is None:
        return {"aggregation": "none: nothing is compared, every annotation stands for itself", "ties": "none"}
    ties = tally.pairs["tie"] + tally.pairs["split"]
    return {
        "aggregation": RULES[spec.aggregation],
        "ties": f"{TIES[spec.ties]} ({ties:,} of {tally.pairs['all']:,} pairs)",
        "ties_dropped": ties if spec.ties == "drop" else 0,
    }


def _annotators(pool: Pool) -> dict[str, Any]:
    """How many people annotated; judges by name, since they are configurations and not persons."""
    who = pool.tally.annotators
    judges = sorted(pool.annotators[pk].name for pk in who.get("judge", ()))
    pool_of = {"people": len(who.get("human", ())), "simulated": len(who.get("simulated", ()))}
    named = {name: count for name, count in pool_of.items() if count}
    return named | ({"judges": ", ".join(judges)} if judges else {})


def _counts(pool: Pool) -> dict[str, Any]:
    tally = pool.tally
    return {
        "instances": tally.instances,
        "without_annotations": tally.unlabelled,
        "not_a_preference": tally.not_a_preference,
        "annotations": tally.annotations,
        "adjudicated": tally.adjudicated,
        "pairs": dict(tally.pairs),
        "dropped": dict(tally.dropped),
        "refinements": tally.refinements,
        "rows_by_source": dict(_rows_by_source(pool)),
        "questions_version": pool.questions_version,
    }


def _notes(pool: Pool) -> list[str]:
    spec, tally = pool.spec, pool.tally
    pairs = (
        f"{_votes_needed(spec.min_annotations)} A pair is left out when more than half of its annotators "
        "say that both are bad; cannot judge is no vote."
    )
    notes = [
        *([pairs] if pool.question else []),
        f"Splits by prompt hash with fractions {', '.join(map(str, spec.splits))} and seed {spec.seed}: a prompt is "
        "never in two splits.",
    ]
    if pool.question is not None and pool.question.kind == "ranking":
        notes.append(f"A ranking gives a pair for {PAIRS[spec.pairs]}.")
    if spec.refinements == "chosen":
        notes.append(
            f"{tally.refinements:,} of the pairs are refinements, chosen over the completion that was edited, with "
            "strength 1 and soft_label 1; their ids say refined. They are not votes, and no agreement is measured."
        )
    if spec.aggregation == "posterior":
        notes.append(f"Of {tally.weighed:,} pairs the label is the posterior of judge and people.")
    if tally.adjudicated:
        notes.append(
            f"On {tally.adjudicated:,} instances a reviewer decided: the decision alone counts for what it answers, "
            "however many votes a pair needs. The raw shape holds the votes too and marks the decisions."
        )
    left = {**tally.dropped, "no preference in its answers": tally.not_a_preference}
    return notes + [f"Left out, {reason}: {count:,}." for reason, count in sorted(left.items()) if count]


def _votes_needed(minimum: int) -> str:
    return "One vote is enough for a pair." if minimum == 1 else f"At least {minimum} votes per pair."
