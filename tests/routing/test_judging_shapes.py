"""Judges of every shape at work: rows that aggregation and export read like people's; panels; reviewers' decisions."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from feedback.exceptions import InvalidInput, WrongState
from feedback.models import Adjudication, Annotation, AnnotationRequest, Instance
from feedback.services import adjudicating, budget, jobs, tasks
from routing.models import JudgeCall, RoutingPlan, Verdict
from routing.services import corrections, judges, judging, tagging, verdicts
from routing.services.asking import Asking, worst_cases
from routing.services.corrections import Corrections
from routing.services.money import plan_money
from tests.conftest import QUESTIONS, Cast, make_cast, make_instances
from tests.routing.judging_cast import (
    SIMULATED,
    assert_money_adds_up,
    judge_all,
    set_cap,
    simulated_judge,
    spent_on_calls,
)
from tests.routing.test_judge_shapes import ALL, RANKING, RATING
from tests.routing.test_judging import plan_for_judge

pytestmark = pytest.mark.django_db
PLENTY = 10_000_000


def task_of(cast: Cast, questions: list[dict[str, Any]], completions: int = 2, count: int = 4) -> Any:
    """An open task that asks `questions` of instances with so many completions."""
    task = tasks.create_task(cast.project, "Everything", questions, actor=cast.owner, overlap=1)
    made = make_instances(task, count)
    texts = ["Good words, well put.", "I am sorry, I cannot.", "Short.", "A longer text of 12 words, with a number."]
    for instance in made:
        instance.completions = [{"content": texts[n], "model": f"m{n}"} for n in range(completions)]
        instance.meta = {"reference": "Words that are known to be good."}
        instance.save(update_fields=["completions", "meta"])
    tasks.open_task(task, actor=cast.owner)
    set_cap(task, PLENTY)
    cast.task = task
    return task


@pytest.fixture
def bare() -> Cast:
    return make_cast(instances=0)


ANSWERED = {
    "self-reference": {"overall"},
    "reference": {"overall"},
    "principles": {"overall"},
    "rating": {"overall", "rated"},
    "aspect-rating": {"overall", "rated"},
    "ranking": {"overall", "order"},
    "critique": {"why", "marks"},
    "choice": {"safe", "tags"},
}


@pytest.mark.parametrize("shape", ANSWERED)
def test_each_shape_answers_its_questions_and_costs_what_its_calls_cost(bare: Cast, shape: str) -> None:
    task = task_of(bare, ALL)
    judge = simulated_judge(bare, shape=shape)
    job = judge_all(bare, judge)
    assert (job.state, job.result["judged"]) == ("succeeded", 4), job.result
    rows = list(Annotation.objects.filter(annotator=judge.annotator))
    assert [set(row.answers) for row in rows] == [ANSWERED[shape]] * 4
    assert JudgeCall.objects.count() == (4 if shape == "critique" else 8)
    assert assert_money_adds_up(task).spent_micros == spent_on_calls(task) > 0
    assert judge_all(bare, judge).result["judged"] == 0


def test_a_ranking_judge_orders_four_completions(bare: Cast) -> None:
    task_of(bare, [RANKING], completions=4)
    judge_all(bare, simulated_judge(bare, shape="ranking"))
    groups = [row.answers["order"]["groups"] for row in Annotation.objects.all()]
    assert [sorted(place for group in one for place in group) for one in groups] == [[0, 1, 2, 3]] * 4
    assert set(Verdict.objects.values_list("p_a", "unreached")) == {(None, False)}


def test_completions_rated_alone_take_a_call_each(bare: Cast) -> None:
    task_of(bare, [RATING], completions=3)
    judge = simulated_judge(bare, shape="rating", alone=True)
    assert judge_all(bare, judge).result["judged"] == 4
    assert JudgeCall.objects.filter(instance=Instance.objects.first()).count() == 3
    assert set(JudgeCall.objects.values_list("part", flat=True)) == {0, 1, 2}
    assert all(len(row.answers["rated"]["ratings"]["Clarity"]) == 3 for row in Annotation.objects.all())


def test_what_a_call_said_is_read_back_for_a_twin(bare: Cast) -> None:
    task = task_of(bare, [RATING], count=1)
    twin = Instance.objects.get(task=task)
    Instance.objects.create(
        task=task, external_id="twin", prompt=twin.prompt, completions=twin.completions, prompt_hash="0"
    )
    judge_all(bare, simulated_judge(bare, shape="aspect-rating"))
    one, other = Annotation.objects.order_by("pk")
    assert (one.answers, one.details["rationales"]) == (other.answers, other.details["rationales"])
    assert JudgeCall.objects.count() == 2


def test_a_judge_with_nothing_to_answer_is_refused_in_words(bare: Cast) -> None:
    task = task_of(bare, [RATING])
    with pytest.raises(InvalidInput, match="asks no preference"):
        judging.start_judging(task, simulated_judge(bare), {"kind": "all"}, actor=bare.owner)


def test_an_instance_without_a_reference_is_passed_over(bare: Cast) -> None:
    task_of(bare, QUESTIONS)
    Instance.objects.filter(external_id="i0").update(meta={})
    Instance.objects.filter(external_id="i1").update(meta={"reference": 7})
    result = judge_all(bare, simulated_judge(bare, shape="reference")).result
    assert (result["judged"], result["skipped"]) == (2, 2)


@pytest.mark.django_db(transaction=True)  # on a busy machine it lasts longer than a heartbeat, which has to see the job
def test_samples_that_disagree_ask_for_a_person(bare: Cast) -> None:
    task_of(bare, QUESTIONS, count=30)
    judge = simulated_judge(bare, samples=3, noise={"flip": 0.49}, least_agreement=0.9)
    judge_all(bare, judge)
    rows = Verdict.objects.exclude(order_consistent=False)
    assert rows.filter(self_consistency__lt=0.9).exists()
    assert not rows.filter(self_consistency__lt=0.9, needs_person=False).exists()
    assert not rows.filter(self_consistency=1.0, needs_person=True).exists()


# panels


def panel_of(cast: Cast, *members: Any, **changes: Any) -> Any:
    config = {"backend": "panel", "members": [str(one.public_id) for one in members], **changes}
    return judges.create_judge(cast.project, "Panel", config, actor=cast.owner)


def three(cast: Cast, **changes: Any) -> list[Any]:
    return [
        judges.create_judge(cast.project, f"Pool {seed}", {**SIMULATED, "seed": seed, **changes}, actor=cast.owner)
        for seed in range(3)
    ]


@pytest.mark.django_db(transaction=True)
def test_a_panel_lets_its_members_judge_and_says_where_they_split(bare: Cast) -> None:
    task = task_of(bare, QUESTIONS, count=30)
    panel = panel_of(bare, *three(bare, noise={"flip": 0.1, "position_bias": 0.0}), least_agreement=0.9)
    job = judge_all(bare, panel)
    assert (job.state, job.result["judged"]) == ("succeeded", 30), job.result
    said = Verdict.objects.filter(judge=panel)
    assert said.filter(panel_agreement=1.0, order_consistent=True, needs_person=False).exists()
    split = said.filter(panel_agreement__lt=0.9)
    assert split.exists()
    assert not split.filter(needs_person=False).exists()
    assert JudgeCall.objects.filter(judge=panel).count() == 0
    assert Annotation.objects.filter(annotator=panel.annotator, price_micros=0).count() == 30
    assert assert_money_adds_up(task).spent_micros == spent_on_calls(task)


def test_a_plans_panel_is_paid_from_what_its_requests_hold(cast: Cast) -> None:
    set_cap(cast.task, PLENTY)
    panel = panel_of(cast, *three(cast))
    plan = plan_for_judge(cast, panel)
    set_cap(cast.task, assert_money_adds_up(cast.task).reserved_micros)
    job = judge_all(cast, panel, {"kind": "plan", "plan": str(plan.public_id)})
    assert job.result["judged"] == 5, job.result
    assert set(AnnotationRequest.objects.values_list("state", "received")) == {("done", 1)}
    budget = assert_money_adds_up(cast.task)
    assert (budget.reserved_micros, budget.spent_micros) == (0, spent_on_calls(cast.task))


def test_a_plan_pays_of_a_panel_what_its_members_cost_from_then_on(cast: Cast) -> None:
    set_cap(cast.task, PLENTY)
    members = three(cast)
    panel = panel_of(cast, *members)
    for member in members[:2]:
        judge_all(cast, member)
    earlier = spent_on_calls(cast.task)
    plan = plan_for_judge(cast, panel)
    assert judge_all(cast, panel, {"kind": "plan", "plan": str(plan.public_id)}).result["judged"] == 5
    plan.refresh_from_db()
    assert 0 < plan_money(plan).spent == spent_on_calls(cast.task) - earlier


def test_a_plans_money_counts_calls_in_flight_and_members_that_answered(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_cap(cast.task, PLENTY)
    panel = panel_of(cast, *three(cast))
    plan = plan_for_judge(cast, panel)
    seen: list[tuple[int, int, int, int]] = []
    finish = judging.Judging._finish

    def watched(self: judging.Judging, questions: Any) -> None:
        told, purse = plan_money(plan), budget.budget_of(cast.task)
        seen.append((told.spent, told.reserved, purse.spent_micros, purse.reserved_micros))
        finish(self, questions)

    monkeypatch.setattr(judging.Judging, "_finish", watched)
    judge_all(cast, panel, {"kind": "plan", "plan": str(plan.public_id)})
    assert any(spent for spent, *_ in seen)
    assert [row[:2] for row in seen] == [row[2:] for row in seen]


def test_a_plan_pays_for_no_tagging_of_its_panels_members(cast: Cast) -> None:
    set_cap(cast.task, PLENTY)
    members = three(cast)
    panel = panel_of(cast, *members)
    plan = plan_for_judge(cast, panel)
    job = tagging.start_tagging(cast.task, members[0], ["language"], None, actor=cast.owner)
    jobs.run(job.pk)
    paid = spent_on_calls(cast.task)
    assert judge_all(cast, panel, {"kind": "plan", "plan": str(plan.public_id)}).result["judged"] == 5
    plan.refresh_from_db()
    assert paid > 0
    assert plan_money(plan).spent == spent_on_calls(cast.task) - paid


def test_what_a_panel_is_split_on_goes_to_a_person_while_the_plans_money_lasts(cast: Cast) -> None:
    set_cap(cast.task, PLENTY)
    panel = panel_of(cast, *three(cast, noise={"flip": 0.4, "position_bias": 0.0}), least_agreement=1.0)
    plan = plan_for_judge(cast, panel)
    held = plan_money(plan).reserved
    price = cast.task.human_price_micros
    RoutingPlan.objects.filter(pk=plan.pk).update(
        params={"escalate": True}, budget_micros=held + price, state="applied", applied_at=timezone.now()
    )
    job = judge_all(cast, panel, {"kind": "plan", "plan": str(plan.public_id)})
    split = Verdict.objects.filter(judge=panel, needs_person=True).exclude(annotation=None)
    assert split.count() > 1
    assert job.result["to_people"] == 1
    (person,) = AnnotationRequest.objects.filter(source="human")
    assert (person.state, person.wanted, person.origin) == ("open", 1, plan.origin)
    assert split.filter(instance=person.instance).exists()
    assert plan.decisions.get(instance=person.instance).reason == verdicts.UNSURE
    assert Annotation.objects.filter(annotator=panel.annotator).count() == job.result["judged"]
    assert_money_adds_up(cast.task)


def test_no_more_goes_to_people_than_the_plans_cap_allows(cast: Cast) -> None:
    set_cap(cast.task, PLENTY)
    panel = panel_of(cast, *three(cast, noise={"flip": 0.4, "position_bias": 0.0}), least_agreement=1.0)
    plan = plan_for_judge(cast, panel)
    rules = {"escalate": True, "most_people": 1}
    RoutingPlan.objects.filter(pk=plan.pk).update(
        params=rules, budget_micros=PLENTY, state="applied", applied_at=timezone.now()
    )
    job = judge_all(cast, panel, {"kind": "plan", "plan": str(plan.public_id)})
    assert Verdict.objects.filter(judge=panel, needs_person=True).exclude(annotation=None).count() > 1
    assert job.result["to_people"] == AnnotationRequest.objects.filter(source="human").count() == 1


def test_a_panel_that_rates_on_different_ranges_is_refused_in_words(bare: Cast) -> None:
    one = judges.create_judge(bare.project, "Rates", {**SIMULATED, "shape": "rating"}, actor=bare.owner)
    aspects = {**SIMULATED, "shape": "aspect-rating", "aspects": ["overall"]}
    other = judges.create_judge(bare.project, "Aspects", aspects, actor=bare.owner)
    panel = panel_of(bare, one, other)
    task = task_of(bare, QUESTIONS)
    with pytest.raises(InvalidInput, match="different ranges"):
        judging.start_judging(task, panel, {"kind": "all"}, actor=bare.owner)


def test_a_panel_most_of_which_abstains_asks_people(cast: Cast) -> None:
    set_cap(cast.task, PLENTY)
    quiet = three(cast, noise={"abstain": 0.999})[:2]
    loud = simulated_judge(cast)
    panel = panel_of(cast, loud, *quiet)
    plan = plan_for_judge(cast, panel)
    job = judge_all(cast, panel, {"kind": "plan", "plan": str(plan.public_id)})
    assert (job.result["judged"], job.result["abstained"], job.result["to_people"]) == (0, 5, 5)
    assert not Annotation.objects.filter(annotator=panel.annotator).exists()
    assert_money_adds_up(cast.task)


def test_a_panel_of_rating_judges_rates(bare: Cast) -> None:
    task_of(bare, [RATING], completions=3)
    panel = panel_of(bare, *three(bare, shape="rating"))
    assert judge_all(bare, panel).result["judged"] == 4
    assert all(
        len(row.answers["rated"]["ratings"]["Clarity"]) == 3
        for row in Annotation.objects.filter(annotator=panel.annotator)
    )


def test_a_panel_names_judges_of_its_project_that_are_in_use(bare: Cast) -> None:
    members = three(bare)
    panel = panel_of(bare, *members)
    for wrong in ([str(panel.public_id), str(members[0].public_id)], ["x", "y"]):
        with pytest.raises(InvalidInput):
            judges.create_judge(bare.project, "P", {"backend": "panel", "members": wrong}, actor=bare.owner)
    task_of(bare, QUESTIONS)
    judges.retire_judge(members[0], actor=bare.owner)
    with pytest.raises(WrongState, match="Pool 0 v1 of the panel"):
        judging.start_judging(bare.task, panel, {"kind": "all"}, actor=bare.owner)


# reviewers' decisions


def decide(cast: Cast, external_id: str, prompt: str, value: str) -> Instance:
    instance = Instance.objects.get(task=cast.task, external_id=external_id)
    Instance.objects.filter(pk=instance.pk).update(prompt=[{"role": "user", "content": prompt}])
    instance.refresh_from_db()
    answers = {"overall": {"value": value}}
    annotation = Annotation.objects.create(
        task=cast.task, instance=instance, annotator_id=1, source="human", answers=answers, state="decided",
        questions_version=1,
    )  # fmt: skip
    Adjudication.objects.create(
        instance=instance, annotation=annotation, reason=f"Because {external_id}.", decided_by=cast.reviewer
    )
    return instance


@pytest.fixture
def decided(bare: Cast) -> Cast:
    from feedback.models import Annotator

    Annotator.objects.get_or_create(pk=1, defaults={"project": bare.project, "kind": "human", "name": "r"})
    task_of(bare, QUESTIONS, count=6)
    decide(bare, "i1", "How do I bake bread with rye flour?", "a-is-clearly-better")
    decide(bare, "i2", "What is the derivative of a polynomial?", "b-is-slightly-better")
    decide(bare, "i3", "How do I bake bread at home?", "tie")
    decide(bare, "i4", "Which city is it?", "both-bad")
    Instance.objects.filter(external_id="i0").update(prompt=[{"role": "user", "content": "How do I bake good bread?"}])
    return bare


def test_the_decisions_on_the_most_similar_prompts_are_shown(decided: Cast) -> None:
    instance = Instance.objects.get(external_id="i0")
    found = Corrections(decided.task).nearest(instance, 2)
    assert {one.prompt for one in found} == {"How do I bake bread at home?", "How do I bake bread with rye flour?"}
    assert {one.verdict for one in found} == {"tie", "a"}
    assert len(Corrections(decided.task).nearest(instance, 8)) == 3  # "both bad" says nothing of the order


def test_a_decision_is_never_shown_for_its_own_prompt(decided: Cast) -> None:
    own = Instance.objects.get(external_id="i3")
    assert "at home" not in {one.prompt for one in Corrections(decided.task).nearest(own, 8)}
    Instance.objects.filter(external_id="i0").update(prompt_hash=own.prompt_hash)
    shown = Corrections(decided.task).nearest(Instance.objects.get(external_id="i0"), 8)
    assert all("at home" not in one.prompt for one in shown)


def test_decisions_that_are_read_again_are_not_embedded_again(decided: Cast) -> None:
    instance = Instance.objects.get(external_id="i0")
    Corrections(decided.task).nearest(instance, 2)
    before = corrections._embedded.cache_info()
    assert len(Corrections(decided.task).nearest(instance, 2)) == 2
    after = corrections._embedded.cache_info()
    assert (after.misses, after.hits) == (before.misses, before.hits + 1)
    adjudicating.undo(Adjudication.objects.get(instance__external_id="i1"), actor=decided.reviewer)
    (left, tie) = Corrections(decided.task).nearest(instance, 2)
    assert {left.prompt, tie.prompt} == {"How do I bake bread at home?", "What is the derivative of a polynomial?"}


def test_an_undone_decision_teaches_nothing(decided: Cast) -> None:
    for row in Adjudication.objects.all():
        adjudicating.undo(row, actor=decided.reviewer)
    assert Corrections(decided.task).nearest(Instance.objects.get(external_id="i0"), 8) == ()


def test_a_judge_that_is_shown_decisions_pays_for_their_length(decided: Cast) -> None:
    shown = simulated_judge(decided, examples=2)
    plain = judges.create_judge(decided.project, "Plain", SIMULATED, actor=decided.owner)
    instance = Instance.objects.get(external_id="i0")
    costs = [worst_cases(judge, decided.task, [instance])[instance.pk] for judge in (shown, plain)]
    assert costs[0] > costs[1]
    material = Asking.of(shown, decided.task).material(instance)
    assert material is not None
    assert len(material.examples) == 2
    assert judge_all(decided, shown).result["judged"] == 6
    assert_money_adds_up(decided.task)


def test_no_migration_is_missing() -> None:
    call_command("makemigrations", "routing", check=True, dry_run=True, verbosity=0)
