"""Replies of the shapes that rate, rank, criticise, choose or score: from JSON to what they say, or an abstention."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from feedback.questions import Scale, SpanQuestion
from routing.judge.asking import Ask, View
from routing.judge.config import JudgeConfig, PromptShape
from routing.judge.outcome import MOST_REASON_CHARS, Abstention, ParsedVerdict, Position
from routing.judge.said import EVEN, Said, SaidSpan, groups_of, rated_share
from routing.judge.schemas import label_of

RATING_SCALE = 2.0
RATING_STEPS = 9.0  # a gap is read as if on a scale from 1 to 10
CLEAR_GAP = 3.0
MOST_REFINEMENT_CHARS = 20_000
MOST_COMMENT_CHARS = 4000
MOST_MARKS = 200
FOLLOWUP_STEPS = RATING_SCALE  # a nat per token is one logit
# Thai, Lao, Tibetan, Burmese, Khmer, Chinese and Japanese
UNSPACED = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)


class Misread(ValueError):
    """A reply that is not what was asked for."""

    def __init__(self, detail: str, *, quote: bool = False) -> None:
        self.detail, self.quote = detail, quote
        super().__init__(detail)


def read_said(value: Mapping[str, Any], config: JudgeConfig, ask: Ask, view: View) -> ParsedVerdict | Abstention:
    """A reply's JSON object as what it says. Nothing is guessed: one wrong field makes all of it an abstention."""
    try:
        reason, said = _READERS[config.shape](value, ask, view)
    except Misread as error:
        return Abstention("no_such_quote" if error.quote else "wrong_schema", error.detail[:300])
    steps = {"follow-up": FOLLOWUP_STEPS, "ranking": CLEAR_GAP}.get(config.shape, RATING_STEPS)
    position, p_first, strength = compared(said.scores, view.places, steps)
    return ParsedVerdict(position, p_first, strength, reason[:MOST_REASON_CHARS], None, said)


def compared(
    scores: Mapping[int, float], places: Sequence[int], steps: float
) -> tuple[Position | None, float | None, float]:
    """(position, P(first), signed strength) of two scored completions, shown at `places`; nothing of one or three.

    `steps` stretches the scores so that a gap of 2 is one logit and one of 3 is clear.
    """
    if len(places) != 2 or set(scores) != set(places):
        return None, None, 0.0
    gap = (scores[places[0]] - scores[places[1]]) * steps
    if abs(gap) < EVEN:
        return "tie", 0.5, 0.0
    strength = math.copysign(2.0 if abs(gap) >= CLEAR_GAP - EVEN else 1.0, gap)
    clipped = max(min(gap / RATING_SCALE, 500.0), -500.0)
    return ("first" if gap > 0 else "second"), 1.0 / (1.0 + math.exp(-clipped)), strength


def _rating(value: Mapping[str, Any], ask: Ask, view: View) -> tuple[str, Said]:
    _exactly(value, {"reason", *_labels(view)}, "the reply")
    given = {place: value[label] for label, place in zip(_labels(view), view.places, strict=True)}
    ratings: dict[str, dict[int, int]] = {scale.name: {} for scale in ask.scales}
    for place, by_scale in given.items():
        _exactly(by_scale, ratings, "a completion's ratings")
        for scale in ask.scales:
            ratings[scale.name][place] = _on_scale(by_scale[scale.name], scale)
    return _text(value["reason"], "reason"), Said(ratings=ratings, scores=_shares(ask, ratings, view))


def _aspect_rating(value: Mapping[str, Any], ask: Ask, view: View) -> tuple[str, Said]:
    _exactly(value, set(_labels(view)), "the reply")
    names = [scale.name for scale in ask.scales]
    ratings: dict[str, dict[int, int]] = {name: {} for name in names}
    rationales: dict[str, dict[int, str]] = {name: {} for name in names}
    for label, place in zip(_labels(view), view.places, strict=True):
        _exactly(value[label], ratings, "a completion's aspects")
        for scale in ask.scales:
            one = value[label][scale.name]
            _exactly(one, {"rationale", "rating"}, f"the aspect {scale.name}")
            ratings[scale.name][place] = _on_scale(one["rating"], scale)
            rationales[scale.name][place] = _text(one["rationale"], "rationale")[:MOST_COMMENT_CHARS]
    reason = "\n".join(f"{name}: {rationales[name][place]}" for place in sorted(view.places) for name in names)
    return reason, Said(ratings=ratings, rationales=rationales, scores=_shares(ask, ratings, view))


def _shares(ask: Ask, ratings: dict[str, dict[int, int]], view: View) -> dict[int, float]:
    shares = {place: rated_share(ask, ratings, place) for place in sorted(view.places)}
    return {place: share for place, share in shares.items() if share is not None}


def _on_scale(value: Any, scale: Scale) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not scale.low <= value <= scale.high:
        raise Misread(f"A rating of {scale.name} is not a whole number from {scale.low} to {scale.high}.")
    return value


def _ranking(value: Mapping[str, Any], ask: Ask, view: View) -> tuple[str, Said]:
    _exactly(value, {"reason", "ranking"}, "the reply")
    groups = value["ranking"]
    if not isinstance(groups, list) or not all(isinstance(group, list) and group for group in groups):
        raise Misread("A ranking is a list of groups, each with at least one number.")
    numbers = [number for group in groups for number in group]
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in numbers)
    if not whole or sorted(numbers) != list(range(1, len(view.texts) + 1)):
        raise Misread("A ranking names each completion once.")
    if ask.ranking and not ask.ranking.allow_ties and len(groups) < len(numbers):
        raise Misread("Two completions share a place, which this ranking does not allow.")
    scores: dict[int, float] = {}
    above = 0
    for group in groups:
        middle = above + (len(group) - 1) / 2
        scores |= {view.places[number - 1]: -float(middle) for number in group}
        above += len(group)
    return _text(value["reason"], "reason"), Said(groups=groups_of(scores), scores=scores)


def _critique(value: Mapping[str, Any], ask: Ask, view: View) -> tuple[str, Said]:
    _exactly(value, set(_labels(view)), "the reply")
    refine = bool(ask.critique and ask.critique.ask_refinement)
    fields = {"critique"} | ({"refinement"} if refine else set()) | ({"marks"} if ask.span else set())
    critiques, refinements, spans = {}, {}, []
    for label, place, text in zip(_labels(view), view.places, view.texts, strict=True):
        one = value[label]
        _exactly(one, fields, "a completion's critique")
        critiques[place] = _text(one["critique"], "critique")[:MOST_COMMENT_CHARS]
        if refine:
            refinements[place] = _text(one["refinement"], "refinement")[:MOST_REFINEMENT_CHARS]
        if ask.span:
            spans += _marks(one["marks"], ask.span, text, place)
    reason = "\n\n".join(critiques[place] for place in sorted(critiques))
    return reason, Said(critiques=critiques, refinements=refinements, spans=tuple(spans))


def _marks(value: Any, question: SpanQuestion, text: str, place: int) -> list[SaidSpan]:
    if not isinstance(value, list) or len(value) > MOST_MARKS:
        raise Misread(f"Marks are a list of at most {MOST_MARKS}.")
    spans = sorted((_mark(one, question, text, place) for one in value), key=lambda span: (span.start, span.end))
    if not question.allow_overlap and any(after.start < one.end for one, after in pairwise(spans)):
        raise Misread("Two marks overlap, which this question does not allow.")
    return spans


def _mark(value: Any, question: SpanQuestion, text: str, place: int) -> SaidSpan:
    subtypes = {one.name: one.subtypes for one in question.types}
    fields = {"quote", "occurrence", "type", "comment"}
    fields |= {"subtype"} if any(subtypes.values()) else set()
    fields |= {"severity"} if question.severities else set()
    _exactly(value, fields, "a mark")
    kind, subtype = _text(value["type"], "type"), _text(value.get("subtype", ""), "subtype")
    severity = _text(value.get("severity", ""), "severity")
    if kind not in subtypes or (subtype and subtype not in subtypes[kind]):
        raise Misread("A mark's type is not one of the types.")
    if severity and severity not in question.severities:
        raise Misread("A mark's severity is not one of the severities.")
    start, end = find_quote(text, _text(value["quote"], "quote"), value["occurrence"])
    comment = _text(value["comment"], "comment")[:MOST_COMMENT_CHARS]
    return SaidSpan(target=place, start=start, end=end, type=kind, subtype=subtype, severity=severity, comment=comment)


def find_quote(text: str, quote: str, occurrence: Any) -> tuple[int, int]:
    """`[start, end)` of the n-th occurrence of a quote, in code points; runs of white space equal each other.

    Occurrences are those that do not overlap, counted from 1. One never begins or ends inside a word, except in scripts
    that write no spaces between words. Raises Misread when the text has no such occurrence.
    """
    words = quote.split()
    if not words:
        raise Misread("A mark quotes nothing.", quote=True)
    if not isinstance(occurrence, int) or isinstance(occurrence, bool) or occurrence < 1:
        raise Misread("The occurrence of a quote is a whole number from 1.")
    pattern = re.compile(r"\s+".join(re.escape(word) for word in words))
    at = seen = 0
    while match := pattern.search(text, at):
        start, end = match.span()
        whole = not _inside_word(text, start) and not _inside_word(text, end)
        seen += whole
        if whole and seen == occurrence:
            return start, end
        at = end if whole else start + 1
    raise Misread(f"The completion does not say {quote[:80]!r} {occurrence} times.", quote=True)


def _inside_word(text: str, at: int) -> bool:
    """Whether a word goes on from the code point before ``at`` to the one there. A combining mark never begins one."""
    if not 0 < at < len(text):
        return False
    before, after = text[at - 1], text[at]
    if unicodedata.category(after).startswith("M"):
        return True
    return _of_a_word(before) and _of_a_word(after) and not UNSPACED.search(before + after)


def _of_a_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_" or unicodedata.category(letter).startswith("M")


def _choice(value: Mapping[str, Any], ask: Ask, view: View) -> tuple[str, Said]:
    _exactly(value, {"reason", "answers"}, "the reply")
    answers = value["answers"]
    _exactly(answers, {question.name for question in ask.choices}, "the answers")
    chosen: dict[str, tuple[str, ...]] = {}
    for question in ask.choices:
        given = answers[question.name] if question.multiple else [answers[question.name]]
        if not isinstance(given, list) or not all(isinstance(one, str) and one in question.options for one in given):
            raise Misread(f"The answer to {question.name} is not among its options.")
        if len(set(given)) < len(given):
            raise Misread(f"The answer to {question.name} names an option twice.")
        chosen[question.name] = tuple(given)
    return _text(value["reason"], "reason"), Said(choices=chosen)


def _followup(value: Mapping[str, Any], ask: Ask, view: View) -> tuple[str, Said]:
    """Log-likelihoods per token of the positive minus the negative follow-ups, by the local model."""
    _exactly(value, set(_labels(view)), "the reply")
    scores = {}
    for label, place in zip(_labels(view), view.places, strict=True):
        score = value[label]
        if not isinstance(score, int | float) or isinstance(score, bool) or not math.isfinite(score):
            raise Misread("A likelihood is not a number.")
        scores[place] = float(score)
    words = "; ".join(f"completion {place + 1}: {scores[place]:+.3f}" for place in sorted(scores))
    return f"Follow-up likelihood, nats per token: {words}.", Said(scores=scores, groups=groups_of(scores))


_READERS: dict[PromptShape, Callable[[Mapping[str, Any], Ask, View], tuple[str, Said]]] = {
    "rating": _rating,
    "aspect-rating": _aspect_rating,
    "ranking": _ranking,
    "critique": _critique,
    "choice": _choice,
    "follow-up": _followup,
}


def _labels(view: View) -> list[str]:
    return [label_of(number) for number in range(len(view.texts))]


def _exactly(value: Any, fields: Any, what: str) -> None:
    if not isinstance(value, Mapping) or set(value) != set(fields):
        raise Misread(f"Expected of {what} exactly: {', '.join(sorted(fields))}.")


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise Misread(f"The {name} is not text.")
    return value
