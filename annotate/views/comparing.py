"""What several annotators said of one instance, beside each other: one section a question, one row an annotation.

Everything is in stored order: A is completion 0, whoever saw it on which side; ``saw`` says how it was shown.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from feedback.models import Annotation, Instance, QuestionsVersion, Task
from feedback.questions import BOTH_BAD, CANNOT_JUDGE, PreferenceQuestion, Question, parse_questions, strength

from .spans import clock, missing_rows, place_of, severity_scores, span_rows, time_rows

LETTERS = "ABCDEFGHIJKL"
MOST_COMPARED = 3_000  # words of a completion and its refinement together that are compared
HALF = 100  # width of one side of a strength bar
Who = Callable[[Annotation], str]


@dataclass(frozen=True)
class Voice:
    """An annotation with the questions it was made under, and the name that the page gives its annotator."""

    row: Annotation
    answers: dict[str, Any]
    questions: dict[str, Question]
    who: str


def voices(task: Task, annotations: Iterable[Annotation], who: Who) -> list[Voice]:
    """The annotations with their questions, in one query however many versions there are."""
    rows = list(annotations)
    numbers = {row.questions_version for row in rows} - {task.questions_version}
    versions = {task.questions_version: _by_name(task.parsed_questions)}
    if numbers:
        for found in QuestionsVersion.objects.filter(task=task, number__in=numbers):
            versions[found.number] = _by_name(parse_questions(found.questions))
    return [Voice(row, row.answers, versions.get(row.questions_version, {}), who(row)) for row in rows]


def _by_name(questions: Sequence[Question]) -> dict[str, Question]:
    return {question.name: question for question in questions}


def named(names: bool) -> Who:
    """Annotators by name, or by the pseudonym that exports carry."""
    return lambda row: row.annotator.name if names else row.annotator.pseudonym


def nameless() -> Who:
    """Annotators as ``Person 1``, ``Judge 1``: for who must not know whose word it is."""
    seen: dict[str, list[int]] = {}

    def who(row: Annotation) -> str:
        met = seen.setdefault("Judge" if row.source == "judge" else "Person", [])
        if row.annotator_id not in met:
            met.append(row.annotator_id)
        return f"{'Judge' if row.source == 'judge' else 'Person'} {met.index(row.annotator_id) + 1}"

    return who


def sections(instance: Instance, said: Sequence[Voice]) -> list[dict[str, Any]]:
    """A section for each question that somebody answered: the present ones first, then those no longer asked."""
    order = {question.name: question for question in instance.task.parsed_questions}
    for voice in said:
        order = order | {name: one for name, one in voice.questions.items() if name not in order}
    present = {question.name for question in instance.task.parsed_questions}
    made = (_section(question, said, instance, asked=name in present) for name, question in order.items())
    return [section for section in made if section["rows"]]


def _section(question: Question, said: Sequence[Voice], instance: Instance, *, asked: bool) -> dict[str, Any]:
    rows = []
    for voice in said:
        its = voice.questions.get(question.name)
        answer = voice.answers.get(question.name)
        if its is not None and its.kind == question.kind and isinstance(answer, dict):
            rows.append({**_about(voice), **_ROWS[question.kind](its, answer, instance)})
    section = {"question": question, "asked": asked, "rows": rows, "letters": LETTERS[: len(instance.completions)]}
    return section | {"template": f"instances/said/_{question.kind}.html"} | _SUMS.get(question.kind, _nothing)(section)


def _about(voice: Voice) -> dict[str, Any]:
    row = voice.row
    return {
        "who": voice.who,
        "source": row.source,
        "recorded": row.recorded,
        "saw": " ".join(LETTERS[index] for index in row.order),
    }


def _nothing(section: dict[str, Any]) -> dict[str, Any]:
    return {}


def words_of(value: str) -> str:
    """A preference value in words: ``a-is-clearly-better`` → ``A is clearly better``."""
    text = value.replace("-", " ")
    return text[:1].upper() + text[1:]


def bar(question: PreferenceQuestion, value: str) -> dict[str, Any]:
    """A preference as a bar from the middle: ``x`` and ``width`` of 200, ``tone`` a or b; no bar without a side."""
    words = {"words": words_of(value), "x": HALF, "width": 0, "tone": ""}
    if value in (BOTH_BAD, CANNOT_JUDGE) or value not in question.values():
        return words | {"aside": True}
    signed = strength(value, question.steps) or 0
    width = round(abs(signed) * HALF / (question.steps // 2))
    return words | {"x": HALF - width if signed < 0 else HALF, "width": width, "tone": "a" if signed < 0 else "b"}


def _preference(question: Any, answer: dict[str, Any], instance: Instance) -> dict[str, Any]:
    own = [answer["other_reason"]] if answer.get("other_reason") else []
    return {
        "bar": bar(question, str(answer.get("value", ""))),
        "aspects": [(name, bar(question, str(value))) for name, value in answer.get("aspects", {}).items()],
        "confidence": answer.get("confidence"),
        "reasons": [*answer.get("reasons", []), *own],
    }


def _ranking(question: Any, answer: dict[str, Any], instance: Instance) -> dict[str, Any]:
    rank = {index: place for place, group in enumerate(answer.get("groups", []), start=1) for index in group}
    bad = set(answer.get("unacceptable", []))
    return {"ranks": [{"rank": rank.get(i), "bad": i in bad} for i in range(len(instance.completions))]}


def _mean_ranks(section: dict[str, Any]) -> dict[str, Any]:
    columns = zip(*([cell["rank"] for cell in row["ranks"]] for row in section["rows"]), strict=True)
    means = []
    for column in columns:
        ranked = [rank for rank in column if rank is not None]
        means.append(f"{sum(ranked) / len(ranked):.1f}" if ranked else "–")
    return {"means": means if len(section["rows"]) > 1 else []}


def _rating(question: Any, answer: dict[str, Any], instance: Instance) -> dict[str, Any]:
    per = len(instance.completions) if question.per == "completion" else 1
    given = answer.get("ratings", {})
    return {"ratings": [[*given.get(scale.name, []), *[None] * per][:per] for scale in question.scales]}


def _rated(section: dict[str, Any]) -> dict[str, Any]:
    """The grid turned round: a block a scale, with a row an annotation, since people compare within a scale."""
    question = section["question"]
    heads = list(section["letters"]) if question.per == "completion" else ["All"]
    blocks = []
    for n, scale in enumerate(question.scales):
        rows = [{**row, "values": row["ratings"][n]} for row in section["rows"] if n < len(row["ratings"])]
        blocks.append({"scale": scale, "rows": rows, "means": _means([row["values"] for row in rows])})
    return {"heads": heads, "blocks": blocks}


def _means(rows: list[list[int | None]]) -> list[str]:
    if len(rows) < 2:
        return []
    columns = ([value for value in column if value is not None] for column in zip(*rows, strict=False))
    return [f"{sum(column) / len(column):.1f}" if column else "–" for column in columns]


def _choice(question: Any, answer: dict[str, Any], instance: Instance) -> dict[str, Any]:
    return {"values": answer.get("values", [])}


def _counted(section: dict[str, Any]) -> dict[str, Any]:
    asked = list(section["question"].options)
    older = [value for row in section["rows"] for value in row["values"] if value not in asked]
    options = [*asked, *dict.fromkeys(older)]
    rows = [{**row, "ticks": [option in row["values"] for option in options]} for row in section["rows"]]
    return {
        "options": options,
        "rows": rows,
        "counts": [sum(row["ticks"][n] for row in rows) for n in range(len(options))],
    }


def _critique(question: Any, answer: dict[str, Any], instance: Instance) -> dict[str, Any]:
    texts = instance.completion_texts()
    refinements = [*answer.get("refinements", []), *[None] * len(texts)]
    said = [*answer.get("critiques", []), *[""] * len(texts)]
    return {
        "notes": [
            {
                "letter": LETTERS[i],
                "text": said[i],
                "refined": refinements[i] is not None,
                "parts": word_diff(text, refinements[i]) if refinements[i] is not None else [],
            }
            for i, text in enumerate(texts)
            if said[i] or refinements[i] is not None
        ]
    }


def word_diff(before: str, after: str) -> list[tuple[str, str]]:
    """``after`` against ``before`` by words: ``("same" | "new" | "gone", text)``. Very long texts are not compared."""
    old, new = re.findall(r"\S+\s*|\s+", before), re.findall(r"\S+\s*|\s+", after)
    if len(old) + len(new) > MOST_COMPARED:
        return [("same", after)]
    parts: list[tuple[str, str]] = []
    for what, i, j, k, m in difflib.SequenceMatcher(None, old, new).get_opcodes():
        if what == "equal":
            parts.append(("same", "".join(old[i:j])))
            continue
        parts += [(kind, text) for kind, text in (("gone", "".join(old[i:j])), ("new", "".join(new[k:m]))) if text]
    return parts


def _span(question: Any, answer: dict[str, Any], instance: Instance) -> dict[str, Any]:
    scores = severity_scores(question, answer)
    return {
        "spans": [*span_rows(question, answer, instance), *time_rows(question, answer, instance)],
        "missing": missing_rows(answer, instance),
        "scores": [(place_of(target), f"{score:g}") for target, score in sorted(scores.items())],
    }


_ROWS: dict[str, Callable[[Any, dict[str, Any], Instance], dict[str, Any]]] = {
    "preference": _preference,
    "ranking": _ranking,
    "rating": _rating,
    "choice": _choice,
    "critique": _critique,
    "span": _span,
}
_SUMS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "ranking": _mean_ranks,
    "rating": _rated,
    "choice": _counted,
}


def lines_of(voice: Voice) -> list[str]:
    """Everything that one annotation says, as short lines."""
    return [line for question in voice.questions.values() for line in answer_lines(question, voice.answers)]


def answer_lines(question: Question, answers: dict[str, Any]) -> list[str]:
    """One annotation's answer to ``question`` as short lines; none when it has none."""
    answer = answers.get(question.name)
    if not isinstance(answer, dict):
        return []
    match question.kind:
        case "preference":
            return _preference_lines(answer)
        case "ranking":
            groups = " > ".join(" = ".join(LETTERS[i] for i in group) for group in answer.get("groups", []))
            bad = ", ".join(LETTERS[i] for i in answer.get("unacceptable", []))
            return [groups or "Nothing ranked", *([f"Unacceptable: {bad}"] if bad else [])]
        case "rating":
            return [f"{scale}: {_numbers(values)}" for scale, values in answer.get("ratings", {}).items()]
        case "span":
            marks = [_span_line(span) for span in answer.get("spans", [])]
            lacking = [f"Missing in {LETTERS[item['target']]}: {item['text']}" for item in answer.get("missing", [])]
            return marks + [_time_line(time) for time in answer.get("times", [])] + lacking
        case "critique":
            written = zip(LETTERS, answer.get("critiques", []), strict=False)
            rewritten = zip(LETTERS, answer.get("refinements", []), strict=False)
            lines = [f"{letter}: {text}" for letter, text in written if text]
            return lines + [f"{letter} rewritten: {text}" for letter, text in rewritten if text]
        case "choice":
            return [", ".join(answer.get("values", []))]


def _preference_lines(answer: dict[str, Any]) -> list[str]:
    lines = [words_of(answer["value"])]
    lines += [f"{aspect}: {words_of(value)}" for aspect, value in answer.get("aspects", {}).items()]
    if answer.get("confidence"):
        lines.append(f"Confidence {answer['confidence']} of 5")
    reasons = [*answer.get("reasons", []), *([answer["other_reason"]] if answer.get("other_reason") else [])]
    return lines + ([f"Because: {', '.join(reasons)}"] if reasons else [])


def _numbers(values: list[int | None]) -> str:
    return ", ".join("–" if value is None else str(value) for value in values)


def _span_line(span: dict[str, Any]) -> str:
    where = f"{place_of(span['target'])}, characters {span['start']} to {span['end']}"
    return f"{_kind_of(span)} in {where}{_comment_on(span)}"


def _time_line(time: dict[str, Any]) -> str:
    where = f"{place_of(time['target'])}, media {time['media'] + 1}"
    return f"{_kind_of(time)} in {where}, {clock(time['start_ms'])} to {clock(time['end_ms'])}{_comment_on(time)}"


def _kind_of(mark: dict[str, Any]) -> str:
    return " · ".join(part for part in (mark["type"], mark.get("subtype"), mark.get("severity")) if part)


def _comment_on(mark: dict[str, Any]) -> str:
    return f": {mark['comment']}" if mark.get("comment") else ""
