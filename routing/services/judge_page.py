"""Rows → the figures of one judge's page: how far to trust it, how it leans, what it costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Avg, Q

from feedback.models import Annotation, Annotator, AnnotatorKind, Instance, Source
from feedback.questions import PreferenceQuestion, strength
from routing.judge import bias
from routing.judge.bias import Agreement, Both, Calibrated, Compared, Rate, Share

from ..models import Judge, JudgeCall, Verdict
from .calibration import JudgeReport, report_of
from .evidence import Said, said_of

MOST_READ = 2000
MOST_OTHERS = 12
LONGER = 1.25
EVEN = 1e-9


@dataclass(frozen=True)
class JudgePage:
    """``first_place`` is how often the side shown first was preferred; ``others`` compares it with other judges and
    other versions of it on the instances that both and people labelled."""

    report: JudgeReport
    agreement: Agreement
    slices: list[tuple[str, str, Agreement]]
    calibration: Calibrated | None
    first_place: Share
    longer: tuple[Share, Share]
    rates: list[Rate]
    others: list[tuple[Annotator, Compared]]
    attention: float | None
    self_consistency: float | None
    panel_agreement: float | None
    to_people: Share


def judge_page(annotator: Annotator) -> JudgePage:
    """Everything that the page of a judge shows, from its newest annotations."""
    judge = Judge.objects.filter(annotator=annotator).first()
    rows = rows_of(annotator)
    told = Verdict.objects.filter(judge=judge, unreached=False)
    means = told.aggregate(Avg("attention"), Avg("self_consistency"), Avg("panel_agreement"))
    return JudgePage(
        report=report_of(annotator, judge),
        agreement=bias.agreement(rows),
        slices=bias.by_slice(rows),
        calibration=bias.calibrated(rows),
        first_place=_first_place(annotator, judge),
        longer=bias.longer_share(rows),
        rates=bias.win_rates(rows),
        others=_others(annotator, rows),
        attention=means["attention__avg"],
        self_consistency=means["self_consistency__avg"],
        panel_agreement=means["panel_agreement__avg"],
        to_people=bias.share_of(list(told.values_list("needs_person", flat=True)[:MOST_READ])),
    )


def rows_of(annotator: Annotator) -> list[Both]:
    """The instances on which this judge and at least one person said a preference."""
    mine = Annotation.objects.live().filter(annotator=annotator).exclude(source=Source.HUMAN)
    newest = list(mine.select_related("task", "instance").order_by("-pk")[:MOST_READ])
    votes = _votes([row.instance_id for row in newest])
    found = (_both(row, votes.get(row.instance_id, ())) for row in newest)
    return [row for row in found if row]


def _rows_of_others(others: Sequence[Annotator], shared: Sequence[Both]) -> Mapping[int, list[Both]]:
    """What each of the judges said of these instances, of which people's labels are known: read in one go."""
    votes = {row.key: row.votes for row in shared}
    found: dict[int, list[Both]] = defaultdict(list)
    keys = list(votes)
    for start in range(0, len(keys), 900):
        said = Annotation.objects.live().filter(annotator__in=others, instance__in=keys[start : start + 900])
        for row in said.exclude(source=Source.HUMAN).select_related("task", "instance").order_by("-pk"):
            both = _both(row, votes[row.instance_id])
            if both:
                found[row.annotator_id].append(both)
    return found


def _both(row: Annotation, votes: Sequence[int]) -> Both | None:
    asked = row.task.preference_question
    said = said_of(row.answers, row.details, asked) if isinstance(asked, PreferenceQuestion) else None
    texts = row.instance.completion_texts()
    if said is None or not votes or len(texts) != 2 or not isinstance(asked, PreferenceQuestion):
        return None
    lengths = [len(text.split()) for text in texts]
    tied = abs(said.p_a - 0.5) < EVEN or row.answers.get(asked.name, {}).get("value") == "tie"
    return Both(
        key=row.instance_id,
        prompt=row.instance.prompt_hash,
        p_a=said.p_a,
        label=bias.TIE if tied else bias.A if said.p_a > 0.5 else bias.B,
        votes=tuple(votes),
        gap=lengths[0] - lengths[1],
        models=_models(row.instance),
        slices=_slices(row, lengths, said),
    )


def _models(instance: Instance) -> tuple[str, str]:
    first, second = (str(completion.get("model") or "") for completion in instance.completions)
    return first, second


def _slices(row: Annotation, lengths: Sequence[int], said: Said) -> dict[str, str]:
    longest, shortest = max(lengths), min(lengths)
    meta = row.instance.meta if isinstance(row.instance.meta, dict) else {}
    slices = {
        "Task": row.task.name,
        "Lengths": "One is longer by a quarter" if longest > LONGER * shortest else "About equally long",
    }
    if row.details.get("order_consistent") is not None:
        slices["Orders"] = "Same in both orders" if said.consistent else "Conflict"
    if row.instance.lang:
        slices["Language"] = row.instance.lang
    if isinstance(meta.get("category"), str):
        slices["Category"] = meta["category"][:60]
    return slices


def _votes(instance_ids: Sequence[int]) -> Mapping[int, list[int]]:
    """People's labels by instance."""
    votes: dict[int, list[int]] = defaultdict(list)
    for start in range(0, len(instance_ids), 900):
        human = Annotation.objects.live().filter(source=Source.HUMAN, instance__in=instance_ids[start : start + 900])
        for row in human.select_related("task"):
            asked = row.task.preference_question
            if isinstance(asked, PreferenceQuestion):
                value = row.answers.get(asked.name, {}).get("value")
                signed = strength(value, asked.steps) if value in asked.values() else None
                if signed is not None:
                    votes[row.instance_id].append(bias.TIE if not signed else bias.A if signed < 0 else bias.B)
    return votes


def _first_place(annotator: Annotator, judge: Judge | None) -> Share:
    """Over decisive calls; of a recorded judge over the verdicts that its import kept for each order."""
    if judge:
        calls = JudgeCall.objects.filter(Q(p_a__lt=0.5) | Q(p_a__gt=0.5), judge=judge).order_by("-pk")
        seen = calls.values_list("order", "p_a")[: 2 * MOST_READ]
        return bias.share_of([(order == "ab") == (p_a > 0.5) for order, p_a in seen if p_a is not None])
    rows = Annotation.objects.live().filter(annotator=annotator).order_by("-pk").values_list("details", flat=True)
    values = [(order, value) for one in rows[:MOST_READ] for order, value in (one.get("orders") or {}).items()]
    return bias.share_of(
        [(order == "ab") == value.startswith("a-is") for order, value in values if value[:5] in ("a-is-", "b-is-")]
    )


def _others(annotator: Annotator, rows: Sequence[Both]) -> list[tuple[Annotator, Compared]]:
    """Other versions first, then other judges that share instances with it."""
    own = Judge.objects.filter(annotator=annotator).first()
    others = Annotator.objects.filter(project=annotator.project_id).exclude(kind=AnnotatorKind.HUMAN)
    others = others.exclude(pk=annotator.pk).select_related("judge").order_by("-pk")[:MOST_OTHERS]
    theirs = _rows_of_others(list(others), rows)
    found = [(other, bias.compare(rows, theirs.get(other.pk, []))) for other in others]
    shared = [(other, one) for other, one in found if one.one.count]

    def own_versions_first(pair: tuple[Annotator, Compared]) -> bool:
        judge: Judge | None = getattr(pair[0], "judge", None)
        return not (own and judge and judge.name == own.name)

    return sorted(shared, key=own_versions_first)
