"""Policies that write into tasks and reward models that judge them: services, pages and REST, without the engine."""

from __future__ import annotations

import json
import math
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from feedback.exceptions import Conflict, InvalidInput
from feedback.models import Annotation, Annotator, Instance, Job, Source, Task
from feedback.questions import parse_questions
from feedback.services import people, tasks
from tests.annotate.trained import finished_run
from tests.conftest import QUESTIONS
from training import generations, scorings, winrates
from training.models import Generation, Run, Scoring, TrainedModel

Browser = Callable[..., Client]
FORM = {
    "prompts": "10",
    "best_of": "1",
    "count": "2",
    "max_new_tokens": "16",
    "temperature": "1",
    "top_p": "1",
    "seed": "0",
}


@pytest.fixture(autouse=True)
def places(settings: Any, tmp_path: Path) -> None:
    settings.FILES_DIR, settings.MODELS_DIR = tmp_path / "files", tmp_path / "models"


def reward_model(cast: Any) -> TrainedModel:
    return finished_run(cast).model


def policy(cast: Any) -> TrainedModel:
    run = finished_run(cast)
    Run.objects.filter(pk=run.pk).update(objective="dpo")
    TrainedModel.objects.filter(run=run).update(kind="policy", name=f"Policy · run {run.number}")
    return TrainedModel.objects.select_related("run__project").get(run=run)


def page(cast: Any, rest: str) -> str:
    return f"/p/{cast.project.public_id}/{rest}"


def test_writing_makes_a_task_that_asks_which_is_better_and_happens_once(cast: Any) -> None:
    model = policy(cast)
    wishes = {"task_name": "Which run", "opponent": "small", "idempotency_key": "k"}
    first, second = (generations.start_generation(model, cast.task, cast.manager, **wishes) for _ in range(2))
    assert first == second
    assert first.wishes["count"] == 1
    assert first.task.preference_question is not None
    assert generations.names_of(first) == [f"run {model.run.number}", "small"]
    ranked = generations.start_generation(model, cast.task, cast.manager, task_name="Order", wishes={"count": 4})
    assert [question.kind for question in ranked.task.parsed_questions] == ["ranking"]


@pytest.mark.parametrize(
    "wishes, field",
    [
        ({"wishes": {"count": 1}}, "count"),
        ({"wishes": {"count": 2}, "opponent": "small"}, "count"),
        ({"wishes": {"best_of": 4}}, "reward_model"),
        ({"wishes": {"temperature": -1}}, "temperature"),
        ({"wishes": {"prompts": 10**9}}, "prompts"),
        ({"wishes": {"prompts": True}}, "prompts"),
        ({"wishes": {"nonsense": 1}}, "nonsense"),
        ({"opponent": "folder:../x"}, "opponent"),
    ],
)
def test_a_wrong_wish_is_told_at_its_field_and_makes_no_task(cast: Any, wishes: Any, field: str) -> None:
    model, before = policy(cast), Task.objects.count()
    with pytest.raises(InvalidInput) as refused:
        generations.start_generation(model, cast.task, cast.manager, task_name="New", **wishes)
    assert field in refused.value.errors
    assert (Task.objects.count(), Generation.objects.count()) == (before, 0)


def test_a_reward_model_writes_nothing_and_a_policy_scores_nothing(cast: Any) -> None:
    with pytest.raises(InvalidInput):
        generations.start_generation(reward_model(cast), cast.task, cast.manager, task_name="New")
    with pytest.raises(InvalidInput):
        scorings.start_scoring(policy(cast), cast.task, cast.manager)


def drawn(text: str) -> dict[str, Any]:
    return {"drawn": [{"text": text, "tokens": 1, "ended": True}], "scores": None, "shown": [0]}


def test_what_was_written_becomes_instances_once_and_what_is_empty_is_counted(cast: Any) -> None:
    model = policy(cast)
    made = generations.start_generation(model, cast.task, cast.manager, task_name="Which run", opponent="small")
    made.folder.mkdir(parents=True)
    first, second = Instance.objects.filter(task=cast.task).order_by("pk")[:2]
    passages = [{"title": "Told beside it", "sentences": ["One.", "Two."]}]
    Instance.objects.filter(pk=first.pk).update(lang="de", skill="law", meta={"passages": passages, "gold": "Yes."})
    names = generations.names_of(made)
    lines = [
        {"id": str(first.pk), "sides": {names[0]: drawn("Yes."), names[1]: drawn("No.")}},
        {"id": str(second.pk), "sides": {names[0]: drawn(" "), names[1]: drawn("No.")}},
        {"id": str(second.pk + 1), "left_out": "its prompt has no tokens"},
    ]
    (made.folder / "completions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    left_out = {"a completion is empty": 1, "its prompt has no tokens": 1}
    assert generations._add(made) == (1, left_out)
    assert generations._add(made) == (0, left_out)
    instance = made.task.instances.get()
    assert instance.prompt == first.prompt
    assert (instance.lang, instance.skill) == ("de", "law")
    assert [one["model"] for one in instance.completions] == names
    assert instance.open_slots == made.task.overlap
    assert instance.meta["passages"] == passages
    assert "gold" not in instance.meta
    assert instance.meta["generation"] == str(made.public_id)


def test_each_prompt_is_asked_once(cast: Any) -> None:
    model = policy(cast)
    again = Instance.objects.filter(task=cast.task).first()
    assert again is not None
    Instance.objects.create(
        task=cast.task,
        external_id="again",
        prompt=again.prompt,
        completions=again.completions,
        prompt_hash=again.prompt_hash,
    )
    made = generations.start_generation(model, cast.task, cast.manager, task_name="Which run", opponent="small")
    asked = [one["prompt"] for one in generations._prompts(made)]
    hashes = Instance.objects.filter(task=cast.task).values_list("prompt_hash", flat=True)
    assert len(asked) == len(set(hashes))


def test_the_seed_says_which_prompts_are_asked(cast: Any) -> None:
    model = policy(cast)
    for number in range(40):
        prompt = [{"role": "user", "content": f"Another question {number}?"}]
        Instance.objects.create(
            task=cast.task, external_id=f"more-{number}", prompt=prompt, completions=[], prompt_hash=f"{number}"
        )

    def asked(seed: int) -> list[str]:
        wishes = {"prompts": 8, "seed": seed}
        made = generations.start_generation(model, cast.task, cast.manager, task_name=uuid4().hex, wishes=wishes)
        return [one["id"] for one in generations._prompts(made)]

    first = Instance.objects.filter(task=cast.task).order_by("pk").values_list("pk", flat=True)[:8]
    assert asked(1) == asked(1)
    assert len({tuple(sorted(asked(seed))) for seed in range(3)} | {tuple(map(str, first))}) == 4


@pytest.mark.parametrize(
    "scores, value", [((0.0, 0.0), "tie"), ((0.1, 0.0), "a-is-slightly-better"), ((0.0, 5.0), "b-is-clearly-better")]
)
def test_scores_are_a_preference_as_strong_as_they_are_sure(scores: tuple[float, float], value: str) -> None:
    asked = parse_questions(QUESTIONS)[0]
    answer, details = scorings.answer_of(asked, scores)
    assert answer == {"value": value}
    assert details["p_a"] == pytest.approx(1 / (1 + math.exp(scores[1] - scores[0])))
    assert scorings.answer_of(asked, (1.0, 2.0, 3.0))[0] is None


def test_scores_are_a_ranking_with_ties_where_they_are_equal() -> None:
    asked = parse_questions([{"kind": "ranking", "name": "order", "title": "Rank"}])[0]
    assert scorings.answer_of(asked, (1.0, 3.0, 1.0))[0] == {"groups": [[1], [0, 2]]}
    strict = parse_questions([{"kind": "ranking", "name": "order", "title": "Rank", "allow_ties": False}])[0]
    assert scorings.answer_of(strict, (1.0, 3.0, 1.0))[0] == {"groups": [[1], [0], [2]]}


def scored(cast: Any, gap: float = 2.0) -> Scoring:
    """A scoring whose process has ended, with its annotations stored."""
    made = scorings.start_scoring(reward_model(cast), cast.task, cast.manager)
    made.folder.mkdir(parents=True)
    lines = [{"id": item["id"], "scores": [gap, 0.0]} for item in scorings._items(made, Counter())]
    (made.folder / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = {"annotations": scorings._store(made), "left_out": {}}
    Scoring.objects.filter(pk=made.pk).update(report=report)
    now = timezone.now()
    Job.objects.filter(pk=made.job_id).update(state="succeeded", started_at=now, ended_at=now)
    return Scoring.objects.select_related("annotator", "model").get(pk=made.pk)


def test_a_reward_model_is_a_judge_that_routing_can_weigh(cast: Any) -> None:
    from annotate.forms.routing import judge_annotators
    from routing.services.evidence import load_evidence

    made = scored(cast)
    said = Annotation.objects.live().filter(annotator=made.annotator)
    assert said.count() == cast.task.instances.count()
    assert set(said.values_list("source", flat=True)) == {Source.JUDGE}
    assert made.annotator in judge_annotators(cast.project).values()
    evidence = load_evidence(cast.task, made.annotator)
    assert len(evidence.ids) == said.count()
    assert list(scorings._items(made, Counter())) == []


def test_a_question_that_hangs_on_another_answer_is_not_scored(cast: Any, browser: Browser) -> None:
    choice = {"kind": "choice", "name": "usable", "title": "Usable?", "options": ["yes", "no"]}
    preference = QUESTIONS[0] | {"when": {"question": "usable", "values": ["yes"]}}
    task = tasks.create_task(cast.project, "Hangs", [choice, preference], actor=cast.manager)
    model = reward_model(cast)
    with pytest.raises(InvalidInput) as refused:
        scorings.start_scoring(model, task, cast.manager)
    assert set(refused.value.errors) == {"task"}
    shown = browser(cast.manager).get(page(cast, f"models/{model.public_id}/score/")).content.decode()
    assert str(cast.task.public_id) in shown
    assert str(task.public_id) not in shown


def test_a_scoring_under_way_is_not_started_again(cast: Any) -> None:
    model = reward_model(cast)
    assert scorings.start_scoring(model, cast.task, None) == scorings.start_scoring(model, cast.task, None)
    assert Job.objects.filter(kind="score").count() == 1


def test_a_key_belongs_to_one_scoring(cast: Any) -> None:
    model, other = reward_model(cast), tasks.create_task(cast.project, "Other", QUESTIONS, actor=cast.manager)
    made = scorings.start_scoring(model, cast.task, cast.manager, idempotency_key="k")
    assert scorings.start_scoring(model, cast.task, cast.manager, idempotency_key="k") == made
    with pytest.raises(Conflict):
        scorings.start_scoring(model, other, cast.manager, idempotency_key="k")


def name_models(cast: Any) -> None:
    for instance in Instance.objects.filter(task=cast.task):
        completions = [{**one, "model": f"m{place}"} for place, one in enumerate(instance.completions)]
        Instance.objects.filter(pk=instance.pk).update(completions=completions)


def test_win_rates_by_people_and_reward_model_and_where_they_part(cast: Any, browser: Browser, api: Any) -> None:
    from uuid import uuid4 as new

    from feedback.services import queue

    name_models(cast)
    made = scored(cast)
    lent = queue.next_assignment(cast.task, cast.annotator)
    queue.submit(lent, submission_id=new(), answers={"overall": {"value": "b-is-clearly-better"}}, active_ms=0)
    said = winrates.said_in(cast.task)
    found = {one.who: one.found for one in winrates.rates(said)}
    assert found["People"]["rate"] == 0
    assert found[made.annotator.name]["rate"] == 1
    parted = winrates.mismatches(said)
    assert [(one["who"], one["agreement"], one["contradicts"]) for one in parted] == [("People", 0.0, True)]
    text = browser(cast.viewer).get(page(cast, f"scorings/{made.public_id}/")).content.decode()
    for words in ("They contradict each other", "m0", "Annotations made"):
        assert words in text
    path = f"projects/{cast.project.public_id}/tasks/{cast.task.public_id}/win-rates/"
    answer = api(cast.viewer).send("get", path).json()
    assert answer["rates"][0]["who"] == "People"
    assert answer["mismatches"][0]["reward_model"] == made.annotator.name


def test_a_judge_called_people_is_not_taken_for_people(cast: Any, browser: Browser) -> None:
    name_models(cast)
    for kind, instance in zip(("judge", "human", "simulated"), cast.task.instances.all(), strict=False):
        annotator = Annotator.objects.create(project=cast.project, kind=kind, name="People")
        value = "a-is-clearly-better" if kind == "human" else "b-is-clearly-better"
        said = {"answers": {"overall": {"value": value}}, "source": kind}
        Annotation.objects.create(task=cast.task, instance=instance, annotator=annotator, **said)
    found = [(one.who, one.source, one.found["rate"]) for one in winrates.compared(cast.task).rates]
    assert found == [("People", "human", 1.0), ("People", "judge", 0.0), ("People", "simulated", 0.0)]


def test_win_rates_are_computed_once_until_somebody_says_more(
    cast: Any, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 103.0, 104.0, 162.0, 164.0, 164.5])  # counting takes three seconds, so it rests for a minute
    monkeypatch.setattr(winrates, "time", lambda: next(clock))
    name_models(cast)
    scored(cast)
    first = winrates.compared(cast.task)
    with django_assert_num_queries(1):  # of the key alone
        assert winrates.compared(cast.task) == first
    judge = Annotator.objects.create(project=cast.project, kind="judge", name="Another")
    said = {"answers": {"overall": {"value": "tie"}}, "source": Source.JUDGE}
    Annotation.objects.create(task=cast.task, instance=cast.task.instances.first(), annotator=judge, **said)
    assert winrates.compared(cast.task) == first
    assert "Another" in {one.who for one in winrates.compared(cast.task).rates}


def test_instances_that_scores_cannot_answer_are_counted_by_reason(cast: Any) -> None:
    def add(name: str, completions: list[Any]) -> None:
        prompt = [{"role": "user", "content": "?"}]
        task = {"task": cast.task, "external_id": name, "prompt_hash": name}
        Instance.objects.create(prompt=prompt, completions=[{"content": one} for one in completions], **task)

    picture = [{"type": "image", "url": "media/x.png"}]
    add("three", ["a", "b", "c"])
    add("one", ["a"])
    add("picture", ["a", picture])
    scoring = scorings.start_scoring(reward_model(cast), cast.task, cast.manager)
    left_out = Counter[str]()
    scored_ids = [item["id"] for item in scorings._items(scoring, left_out)]
    assert len(scored_ids) == cast.task.instances.count() - 3
    assert left_out == {
        "it has more than two completions, and the task asks for a preference between two": 1,
        "it has fewer than two completions": 1,
        "it shows a picture, a sound or a video": 1,
    }


def test_forms_start_one_generation_and_one_scoring(cast: Any, browser: Browser) -> None:
    model, judge = policy(cast), reward_model(cast)
    client = browser(cast.manager)
    url = page(cast, f"models/{model.public_id}/generate/")
    body = FORM | {"prompts_of": str(cast.task.public_id), "task": "", "task_name": "Written", "key": "k"}
    answers = [client.post(url, body | {"opponent": "small"}) for _ in range(2)]
    made = Generation.objects.get()
    assert {one["Location"] for one in answers} == {page(cast, f"generations/{made.public_id}/")}
    assert "Waiting for a worker" in client.get(answers[0]["Location"]).content.decode()
    answer = client.post(page(cast, f"models/{judge.public_id}/score/"), {"task": str(cast.task.public_id)})
    assert answer["Location"] == page(cast, f"scorings/{Scoring.objects.get().public_id}/")
    for wrong in ({"task_name": ""}, {"prompts_of": str(uuid4())}, {"best_of": "3"}, {"temperature": "nan"}):
        refused = client.post(url, body | {"key": ""} | wrong)
        assert refused.status_code == 422, wrong
        assert b"errorlist" in refused.content
    assert Generation.objects.count() == 1


@pytest.mark.parametrize("who, status", [("viewer", 403), ("annotator", 403), ("outsider", 404)])
def test_only_managers_put_models_to_use(cast: Any, browser: Browser, api: Any, who: str, status: int) -> None:
    model, user = reward_model(cast), getattr(cast, who)
    for use in ("generate", "score"):
        assert browser(user).post(page(cast, f"models/{model.public_id}/{use}/")).status_code == status
    body = {"model": str(model.public_id), "task": str(cast.task.public_id)}
    assert api(user).send("post", f"projects/{cast.project.public_id}/scorings/", body).status_code == status
    assert not Scoring.objects.exists()


def test_uses_of_another_project_are_not_found(cast: Any, browser: Browser, api: Any) -> None:
    made = scored(cast)
    written = generations.start_generation(policy(cast), cast.task, cast.manager, task_name="Written")
    other = people.create_project("Elsewhere", owner=cast.outsider)
    client, program = browser(cast.outsider), api(cast.outsider)
    for rest in (f"scorings/{made.public_id}/", f"generations/{written.public_id}/"):
        assert client.get(f"/p/{other.public_id}/{rest}").status_code == 404
        assert program.send("get", f"projects/{other.public_id}/{rest}").status_code == 404
    own = tasks.create_task(other, "Own", QUESTIONS, actor=cast.outsider)
    body = {"model": str(made.model.public_id), "task": str(own.public_id)}
    assert program.send("post", f"projects/{other.public_id}/scorings/", body).status_code == 404
    body = {"model": str(made.model.public_id), "task": str(own.public_id)}
    assert api(cast.manager).send("post", f"projects/{cast.project.public_id}/scorings/", body).status_code == 404
    path = f"projects/{other.public_id}/tasks/{cast.task.public_id}/win-rates/"
    assert program.send("get", path).status_code == 404


def test_generations_scorings_and_sweeps_over_rest(cast: Any, api: Any) -> None:
    client, model = api(cast.manager), policy(cast)
    root = f"projects/{cast.project.public_id}"
    body = {"model": str(model.public_id), "prompts": str(cast.task.public_id), "task_name": "Written"}
    made = [client.send("post", f"{root}/generations/", body, **{"Idempotency-Key": "k"}) for _ in range(2)]
    assert [one.status_code for one in made] == [202, 202], made[0].content
    assert made[0].json()["id"] == made[1].json()["id"]
    assert client.send("get", f"{root}/generations/").json()["results"][0]["settings"]["count"] == 2
    for wrong in ({"task": str(cast.task.public_id)}, {"settings": {"count": 1}}, {"opponent": "x"}, {"nonsense": 1}):
        assert client.send("post", f"{root}/generations/", body | wrong).status_code == 422, wrong
    version = cast.task.dataset_versions.get()
    sweep = {"version": str(version.public_id), "objective": "bt", "grid": {"seed": [1, 2]}}
    started = client.send("post", f"{root}/sweeps/", sweep)
    assert started.status_code == 201, started.content
    assert [run["values"] for run in started.json()["runs"]] == [[1], [2]]
    assert client.send("post", f"{root}/sweeps/", sweep | {"grid": {"seed": [1]}}).status_code == 422
    checked = client.send("post", f"{root}/sweeps/", sweep | {"check_first": True})
    assert "check_first" in checked.json()["errors"]  # rather than learning unchecked
    one = f"{root}/sweeps/{started.json()['id']}/"
    assert client.send("post", f"{one}cancel/").json()["best"] is None
    runs = "&".join(f"run={run['id']}" for run in started.json()["runs"])
    compared = client.send("get", f"{root}/runs/compare/?{runs}").json()
    assert compared["settings"][0] == {"name": "seed", "values": [1, 2], "differs": True}
    assert client.send("get", f"{root}/runs/compare/?run=x").status_code == 422


def test_a_page_of_many_comparisons_needs_few_queries(
    cast: Any, browser: Browser, django_assert_max_num_queries: Any
) -> None:
    name_models(cast)
    made = scored(cast)
    client = browser(cast.viewer)
    with django_assert_max_num_queries(8):
        assert client.get(page(cast, f"scorings/{made.public_id}/")).status_code == 200


def test_win_rates_hold_no_texts_in_memory(cast: Any) -> None:
    text, count = "word " * 4000, 300
    judge = Annotator.objects.create(project=cast.project, kind="judge", name="Judge")
    for number in range(count):
        instance = Instance.objects.create(
            task=cast.task,
            external_id=f"long-{number}",
            prompt=[{"role": "user", "content": text}],
            completions=[{"content": text, "model": name} for name in "ab"],
            prompt_hash=f"{number}",
        )
        Annotation.objects.create(
            task=cast.task,
            instance=instance,
            annotator=judge,
            source=Source.JUDGE,
            answers={"overall": {"value": "a-is-slightly-better"}},
        )
    tracemalloc.start()
    said = winrates.said_in(cast.task)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [len(several) for several in said.by.values()] == [count]
    assert peak < 2 * count * len(text)


@pytest.mark.parametrize("use", ["evaluate", "generate", "score"])
def test_a_form_of_a_model_leads_back_to_it(cast: Any, browser: Browser, use: str) -> None:
    model = policy(cast) if use == "generate" else reward_model(cast)
    text = browser(cast.manager).get(page(cast, f"models/{model.public_id}/{use}/")).content.decode()
    back = page(cast, f"models/{model.public_id}/")
    assert text.count(f'href="{back}"') == 2  # the crumb and "Cancel"
    assert 'name="csrfmiddlewaretoken"' in text
    assert ("multipart/form-data" in text) is (use == "evaluate")
