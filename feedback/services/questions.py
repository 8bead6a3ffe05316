"""A task's questions over time: what a change means for answers, and the numbered versions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from django.db.models import F

from ..answers import check_answer
from ..content import Shown, text_of
from ..exceptions import AnswersMisfit, InvalidInput
from ..models import Annotation, Assignment, AssignmentState, QuestionsDraft, QuestionsVersion, Task, User
from ..question_changes import carry_over, same_form
from ..questions import InvalidAnswer, InvalidQuestions, Question, parse_questions

COUNTED = 20_000  # annotations read to say what a change means, while somebody waits
Change = Literal["same", "reworded", "changed", "new", "removed"]


def canonical_questions(raw: object) -> list[dict[str, Any]]:
    """Validate questions and return their stored form. Raises InvalidInput with a sentence per field."""
    try:
        return [question.model_dump() for question in parse_questions(raw)]
    except InvalidQuestions as error:
        raise InvalidInput(
            "The questions are not right.", errors={f"questions.{path}": text for path, text in error.errors.items()}
        ) from error


@dataclass(frozen=True)
class QuestionImpact:
    """What a change does to one question's answers: how many there are, no longer fit, or are missing from now on."""

    name: str
    title: str
    kind: str
    change: Change
    answers: int
    misfits: int
    unanswered: int


@dataclass(frozen=True)
class Impact:
    """``annotations`` were looked at (the newest, at most COUNTED of ``total``); ``lent`` assignments are under way."""

    questions: tuple[QuestionImpact, ...]
    annotations: int
    total: int
    lent: int

    @property
    def unchecked(self) -> int:
        """Annotations that were not looked at although a question changed its form."""
        return self.total - self.annotations if any(one.change == "changed" for one in self.questions) else 0

    @property
    def misfits(self) -> dict[str, int]:
        return {one.name: one.misfits for one in self.questions if one.misfits}


def impact_of(task: Task, raw: object) -> Impact:
    """What asking ``raw`` instead of the present questions means for what was answered. Raises InvalidInput."""
    new = {one.name: one for one in parse_questions(canonical_questions(raw))}
    old = {one.name: one for one in task.parsed_questions}
    changed = [name for name in old if name in new and not same_form(old[name], new[name])]
    live = Annotation.objects.live().filter(task=task).order_by("-pk")
    answers, misfits, seen = _count(live[:COUNTED], old, new, changed)
    rows = []
    for name in [*new, *(name for name in old if name not in new)]:
        question = new.get(name) or old[name]
        missing = seen - answers[name] if name in new and _newly_required(old.get(name), new[name]) else 0
        change = _change(old.get(name), new.get(name))
        rows.append(QuestionImpact(name, question.title, question.kind, change, answers[name], misfits[name], missing))
    return Impact(
        questions=tuple(rows),
        annotations=seen,
        total=live.count() if seen == COUNTED else seen,
        lent=Assignment.objects.lent().filter(task=task).count(),
    )


def _count(
    live: Any, old: dict[str, Question], new: dict[str, Question], changed: list[str]
) -> tuple[Counter[str], Counter[str], int]:
    """Answers and misfits by question, and how many annotations were read; texts only where something changed."""
    answers: Counter[str] = Counter()
    misfits: Counter[str] = Counter()
    seen = 0
    texts = ("instance__completions", "instance__prompt") if changed else ()
    for said, *found in live.values_list("answers", *texts).iterator(chunk_size=2000):
        seen += 1
        answers.update(name for name in said if name in old or name in new)
        for name in changed:
            if name in said and _fits(old[name], said[name], found) and not _fits(new[name], said[name], found):
                misfits[name] += 1
    return answers, misfits, seen


def _fits(question: Question, answer: object, found: list[Any]) -> bool:
    completions, prompt = ([text_of(one["content"]) for one in texts] for texts in found)
    try:
        check_answer(question, answer, Shown(completions, prompt))
    except InvalidAnswer:
        return False
    return True


def _newly_required(before: Question | None, after: Question) -> bool:
    return _always_required(after) and not (before and _always_required(before))


def _always_required(question: Question) -> bool:
    return question.required and question.when is None


def _change(before: Question | None, after: Question | None) -> Change:
    if before is None:
        return "new"
    if after is None:
        return "removed"
    if before == after:
        return "same"
    return "reworded" if same_form(before, after) else "changed"


def keep_readable(task: Task, questions: list[dict[str, Any]], *, accept_misfits: bool) -> None:
    """Refuse what would break stored answers without a word.

    Raises InvalidInput where a question that has answers turns into another kind or scale under its name, and
    AnswersMisfit where answers would no longer fit and that was not accepted.
    """
    if not task.annotations.exists():
        return
    before = {question["name"]: question for question in task.questions}
    changed = {
        f"questions.{place}.{part}": f"Answers are stored under {question['name']!r}; give the new question a new name."
        for place, question in enumerate(questions)
        for part in ("kind", "steps")
        if question["name"] in before and question.get(part) != before[question["name"]].get(part)
    }
    if changed:
        raise InvalidInput("The questions are not right.", errors=changed)
    if accept_misfits:
        return
    impact = impact_of(task, questions)
    misfits = {name: f"{count:,} stored answers no longer fit." for name, count in impact.misfits.items()}
    if impact.unchecked:
        misfits["questions"] = f"{impact.unchecked:,} older annotations were not looked at."
    if misfits:
        raise AnswersMisfit(errors=misfits)


def write_version(task: Task, number: int, questions: list[dict[str, Any]], *, actor: User) -> QuestionsVersion:
    """Number the questions that are asked from now on. A builder's page that shows the earlier ones is then stale."""
    QuestionsDraft.objects.filter(task=task, changes__isnull=True).update(version=F("version") + 1)
    return QuestionsVersion.objects.create(task=task, number=number, questions=questions, created_by=actor)


def bring_up_to_date(assignment: Assignment) -> None:
    """Let an unfinished assignment ask its task's present questions; draft answers without a place are set aside.

    A tab that still shows the earlier ones meets a draft conflict, so nothing is overwritten.
    """
    task, instance = assignment.task, assignment.instance
    if assignment.questions_version == task.questions_version:
        return
    shown = Shown(instance.completion_texts(), instance.prompt_texts())
    kept, aside = carry_over(assignment.parsed_questions, task.parsed_questions, assignment.draft, shown)
    begun = Assignment.objects.filter(pk=assignment.pk, draft_version=assignment.draft_version)
    begun.filter(state__in=[AssignmentState.LENT, AssignmentState.EXPIRED]).update(
        questions_version=task.questions_version,
        draft=kept,
        set_aside=assignment.set_aside | aside,
        draft_version=F("draft_version") + 1,
    )
    assignment.refresh_from_db(fields=["questions_version", "draft", "set_aside", "draft_version"])
    assignment.__dict__.pop("parsed_questions", None)
