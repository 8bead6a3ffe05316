"""The judge's pages and API: figures, forms, runs; who may do what; and no secret anywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotate.forms.judge import BACKENDS, SHAPES, JudgeForm
from feedback.models import Annotation, Annotator, Job
from feedback.services import jobs
from feedback.services.people import create_project
from routing.judge.config import DEFAULT_PRINCIPLES, BackendName, PromptShape
from routing.models import Judge, JudgeCall
from routing.services import judges
from tests.conftest import REPOSITORY, Cast
from tests.routing.judging_cast import SIMULATED, judge_all, set_cap, simulated_judge
from tests.routing.planning_cast import make_world

pytestmark = pytest.mark.django_db
KEY = "sk-canary-77aa11"


def at(name: str, cast: Cast, *args: Any) -> str:
    return reverse(name, args=[cast.project.public_id, *args])


def form(**changes: Any) -> dict[str, Any]:
    fields = {
        "name": "Pool", "backend": "simulated", "model": "simulated-pool", "shape": "pairwise", "rubric": "Be fair.",
        "swap": "both", "allow_ties": "on", "price_in": "0.5", "price_out": "1.5", "temperature": "0",
        "max_tokens": "256", "top_logprobs": "0", "seed": "0",
    }  # fmt: skip
    return {**fields, **changes}


def test_an_empty_project_is_led_to_a_first_judge(cast: Cast, browser: Callable[..., Any]) -> None:
    page = browser(cast.manager).get(at("judge", cast)).content.decode()
    assert "No judge yet" in page
    assert at("judge-create", cast) in page


def test_a_manager_configures_runs_and_reads_a_judge(cast: Cast, browser: Callable[..., Any]) -> None:
    client = browser(cast.manager)
    assert client.post(at("judge-create", cast), form()).status_code == 302
    judge = Judge.objects.get()
    assert (str(judge.parsed.price_in), judge.parsed.rubric) == ("0.5", "Be fair.")
    set_cap(cast.task, 10_000_000)
    body = {"scope": "random", "n": "3", "task": cast.task.public_id}
    run = client.post(at("judge-run", cast, judge.public_id), body)
    assert run.status_code == 302
    jobs.run(Job.objects.get(kind="judge").pk)
    page = client.get(at("judge", cast)).content.decode()
    assert "3 judged." in page
    assert "Pool v1" in page
    assert page.count('class="judge-raw"') == 6


def test_figures_compare_a_recorded_judge_with_people(browser: Callable[..., Any]) -> None:
    world = make_world()
    page = browser(world.cast.viewer).get(at("judge", world.cast)).content.decode()
    assert "Recorded judge" in page
    assert "95%:" in page
    assert "80 pairs" in page


def test_a_judges_page_says_how_far_to_trust_it(
    browser: Callable[..., Any], django_assert_max_num_queries: Any
) -> None:
    cast = make_world().cast
    for instance in cast.task.instances.all():
        instance.completions = [{**one, "model": f"m{n}"} for n, one in enumerate(instance.completions)]
        instance.save(update_fields=["completions"])
    recorded = Annotator.objects.get(project=cast.project, name="Recorded judge")
    pool = simulated_judge(cast)
    set_cap(cast.task, 10_000_000)
    judge_all(cast, pool)
    client = browser(cast.viewer)
    client.get(at("judge-figures", cast, recorded.public_id))
    with django_assert_max_num_queries(40):
        page = client.get(at("judge-figures", cast, recorded.public_id)).content.decode()
    for words in ("Reliability", "Expected calibration error", "How it leans", "Agreement by slice", "Win rates"):
        assert words in page
    assert "Beside other judges and versions" in page
    own = client.get(at("judge-figures", cast, pool.annotator.public_id)).content.decode()
    assert "Prefers what is shown first" in own
    assert "Edit judge" not in own
    assert "Edit judge" in browser(cast.owner).get(at("judge-figures", cast, pool.annotator.public_id)).content.decode()


def test_the_page_of_a_judge_asks_as_many_queries_beside_many_others(
    browser: Callable[..., Any], django_assert_num_queries: Any
) -> None:
    world = make_world()
    path, client = at("judge-figures", world.cast, world.judge.public_id), browser(world.cast.viewer)

    def another(number: int) -> None:
        judge = Annotator.objects.create(project=world.cast.project, kind="judge", name=f"Other {number}")
        Annotation.objects.bulk_create(
            Annotation(
                task=world.cast.task, instance=one, annotator=judge, source="judge",
                answers={"overall": {"value": "a-is-clearly-better"}}, details={"p_a": 0.9},
            )
            for one in world.instances[:20]
        )  # fmt: skip

    another(0)
    client.get(path)
    with CaptureQueriesContext(connection) as beside_one:
        assert "Other 0" in client.get(path).content.decode()
    for number in range(1, 7):
        another(number)
    with django_assert_num_queries(len(beside_one)):
        assert "Other 6" in client.get(path).content.decode()


def test_a_judge_without_people_says_what_to_do(cast: Cast, browser: Callable[..., Any]) -> None:
    judge = simulated_judge(cast)
    page = browser(cast.viewer).get(at("judge-figures", cast, judge.annotator.public_id))
    assert "Nothing to compare yet" in page.content.decode()


def test_people_and_other_projects_judges_have_no_page(cast: Cast, browser: Callable[..., Any]) -> None:
    person = Annotator.objects.create(project=cast.project, kind="human", name="A person")
    judge = simulated_judge(cast)
    other = create_project("Other", owner=cast.outsider)
    foreign = judges.create_judge(other, "Foreign", SIMULATED, actor=cast.outsider)
    for annotator in (person, foreign.annotator):
        assert browser(cast.owner).get(at("judge-figures", cast, annotator.public_id)).status_code == 404
    assert browser(cast.outsider).get(at("judge-figures", cast, judge.annotator.public_id)).status_code == 404
    assert browser(cast.annotator).get(at("judge-figures", cast, judge.annotator.public_id)).status_code == 403


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "required"),
        ({"backend": "openai"}, "needs a base URL"),
        ({"backend": "openai", "base_url": "http://127.0.0.1:8000/v1"}, "internal address"),
        ({"backend": "openai", "base_url": "http://[::1]/v1"}, "internal address"),
        ({"backend": "openai", "api_key_env": "SECRET_KEY"}, "begins with TIEBREAK_JUDGE_KEY_"),
        ({"backend": "transformers", "model": "gone"}, "Choose a model of this installation"),
        ({"backend": "transformers", "model": ""}, "Name the model."),
        ({"backend": "panel"}, "A panel, and nothing else, has members"),
        ({"shape": "principles", "principles": ""}, "Write at least one principle."),
        ({"shape": "follow-up"}, "needs a local model"),
        ({"samples": "99"}, "less than or equal to 16"),
        ({"max_tokens": "1"}, "greater than or equal to 16"),
        ({"rubric": "a\x01b"}, "control character"),
    ],
)
def test_a_judge_that_cannot_work_is_refused_in_words(
    cast: Cast, browser: Callable[..., Any], changes: dict[str, Any], words: str
) -> None:
    answer = browser(cast.manager).post(at("judge-create", cast), form(**changes))
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not Judge.objects.exists()


def test_editing_a_judge_keeps_what_the_form_does_not_show(cast: Cast, browser: Callable[..., Any]) -> None:
    judge = simulated_judge(cast, tie_band=0.2)
    client = browser(cast.owner)
    assert "Save judge" in client.get(at("judge-edit", cast, judge.public_id)).content.decode()
    assert client.post(at("judge-edit", cast, judge.public_id), form(rubric="Other.")).status_code == 302
    current = Judge.objects.current().get()
    assert (current.version, current.parsed.tie_band, current.parsed.noise.flip) == (2, 0.2, 0.0)


def test_what_a_shape_has_no_use_for_is_left_alone(cast: Cast, browser: Callable[..., Any]) -> None:
    entered = form(shape="rating", examples="4", principles="x\ny", persona="p", samples="2", aspects="wit\n\n truth ")
    assert browser(cast.manager).post(at("judge-create", cast), entered).status_code == 302
    made = Judge.objects.get().parsed
    assert (made.shape, made.aspects, made.samples) == ("rating", ("wit", "truth"), 2)
    assert (made.examples, made.principles, made.persona) == (0, DEFAULT_PRINCIPLES, "")


def test_a_panel_is_made_of_judges_that_the_form_offers(cast: Cast, browser: Callable[..., Any]) -> None:
    client = browser(cast.manager)
    made = [judges.create_judge(cast.project, name, SIMULATED, actor=cast.owner) for name in ("One", "Two")]
    assert all(str(one) in client.get(at("judge-create", cast)).content.decode() for one in made)
    chosen = [str(one.public_id) for one in made]
    entered = {"name": "Panel", "backend": "panel", "members": chosen, "least_agreement": "0.8"}
    assert client.post(at("judge-create", cast), entered).status_code == 302
    panel = Judge.objects.get(name="Panel").parsed
    assert (panel.members, panel.least_agreement) == (tuple(chosen), 0.8)
    other = create_project("Other", owner=cast.outsider)
    foreign = judges.create_judge(other, "Foreign", SIMULATED, actor=cast.outsider)
    wrong = {**entered, "name": "Wrong", "members": [chosen[0], str(foreign.public_id)]}
    assert client.post(at("judge-create", cast), wrong).status_code == 422


@pytest.mark.parametrize("shape", ["pairwise", "principles", "rating", "follow-up"])
def test_every_field_says_for_which_shapes_it_is(shape: str) -> None:
    shown = {
        one["field"].name
        for _, placed in JudgeForm().groups()
        for one in placed
        if "transformers" in one["backends"].split() and (not one["shapes"] or shape in one["shapes"].split())
    }
    assert ("principles" in shown) == (shape == "principles")
    assert ("alone" in shown) == (shape == "rating")
    assert ("positive_followups" in shown) == (shape == "follow-up")
    assert ("rubric" in shown) == (shape != "follow-up")
    assert {"name", "backend", "model", "shape"} <= shown


def test_the_style_sheet_knows_every_backend_and_shape() -> None:
    sheet = (REPOSITORY / "annotate/static/css/pages/routing.css").read_text(encoding="utf-8")
    assert all(f'[data-backends~="{name}"]' in sheet for name, _ in BACKENDS)
    assert all(f'[data-shapes~="{name}"]' in sheet for name, _ in SHAPES)
    assert {name for name, _ in SHAPES} == set(get_args(PromptShape))
    assert {name for name, _ in BACKENDS} == set(get_args(BackendName))


def test_a_run_without_a_number_is_refused(cast: Cast, browser: Callable[..., Any]) -> None:
    judge = simulated_judge(cast)
    body = {"scope": "random", "n": "", "task": cast.task.public_id}
    answer = browser(cast.manager).post(at("judge-run", cast, judge.public_id), body)
    assert (answer.status_code, Job.objects.count()) == (422, 0)


@pytest.mark.parametrize("name", ["judge", "judge-create", "judge-edit", "judge-run", "judge-retire"])
def test_outsiders_find_nothing_and_lesser_roles_change_nothing(
    cast: Cast, browser: Callable[..., Any], name: str
) -> None:
    judge = simulated_judge(cast)
    args = [] if name in ("judge", "judge-create") else [judge.public_id]
    path = at(name, cast, *args)
    assert browser(cast.outsider).post(path, form()).status_code in (404, 405)
    assert browser(cast.outsider).get(path).status_code in (404, 405)
    assert browser().get(path).status_code in (302, 405)
    if name != "judge":
        for user in (cast.viewer, cast.annotator, cast.reviewer):
            assert browser(user).post(path, form()).status_code == 403
    assert (Judge.objects.count(), Job.objects.count()) == (1, 0)


def test_another_projects_judge_is_not_found(cast: Cast, browser: Callable[..., Any]) -> None:
    other = create_project("Other", owner=cast.outsider)
    foreign = judges.create_judge(other, "Foreign", SIMULATED, actor=cast.outsider)
    client = browser(cast.owner)
    for name in ("judge-edit", "judge-run", "judge-retire"):
        assert client.post(at(name, cast, foreign.public_id), form(scope="all")).status_code == 404


def test_a_key_in_the_environment_is_on_no_page(
    cast: Cast, browser: Callable[..., Any], api: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIEBREAK_JUDGE_KEY_PAGE", KEY)
    client = browser(cast.owner)
    client.post(at("judge-create", cast), form(api_key_env="TIEBREAK_JUDGE_KEY_PAGE"))
    judge = Judge.objects.get()
    pages = [client.get(at("judge", cast)), client.get(at("judge-edit", cast, judge.public_id))]
    pages.append(api(cast.owner).send("get", f"projects/{cast.project.public_id}/judges/"))
    assert all(KEY not in page.content.decode() for page in pages)


def test_a_reply_is_shown_as_text(cast: Cast, browser: Callable[..., Any]) -> None:
    set_cap(cast.task, 10_000_000)
    judge_all(cast, simulated_judge(cast))
    JudgeCall.objects.update(raw='<script>alert(1)</script><img src=x onerror="x">')
    page = browser(cast.owner).get(at("judge", cast)).content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_the_page_asks_as_many_queries_for_many_calls(
    cast: Cast, browser: Callable[..., Any], django_assert_max_num_queries: Any
) -> None:
    set_cap(cast.task, 10_000_000)
    judge_all(cast, simulated_judge(cast))
    client = browser(cast.owner)
    client.get(at("judge", cast))
    with django_assert_max_num_queries(34):
        client.get(at("judge", cast))


def test_the_api_makes_changes_runs_and_lists_judges(cast: Cast, api: Callable[..., Any]) -> None:
    client, base = api(cast.manager), f"projects/{cast.project.public_id}/judges/"
    made = client.send("post", base, {"name": "Api", "config": SIMULATED}, **{"Idempotency-Key": "a"})
    assert made.status_code == 201
    again = client.send("post", base, {"name": "Api", "config": SIMULATED}, **{"Idempotency-Key": "a"})
    assert again.json()["id"] == made.json()["id"]
    name = made.json()["id"]
    changed = client.send("patch", f"{base}{name}/", {"config": {"rubric": "Shorter is better."}})
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    set_cap(cast.task, 10_000_000)
    current = changed.json()["id"]
    run = client.send("post", f"{base}{current}/run/", {"task": str(cast.task.public_id), "scope": "all"})
    assert run.status_code == 202
    jobs.run(Job.objects.get(kind="judge").pk)
    calls = client.send("get", f"{base}{current}/calls/?limit=3").json()
    assert (len(calls["results"]), calls["results"][0]["parse_status"]) == (3, "ok")
    assert len(client.send("get", f"{base}?current=true").json()["results"]) == 1
    assert client.send("delete", f"{base}{current}/").status_code == 204


@pytest.mark.parametrize(
    "body",
    [
        {"name": "X", "config": {"backend": "openai", "base_url": "http://10.0.0.1/v1"}},
        {"name": "X", "config": {"surprise": 1}},
        {"name": "X", "config": {}, "api_key_env": "PATH"},
        {"name": "", "config": {}},
        {"config": {}},
    ],
)
def test_the_api_refuses_a_bad_judge_with_a_problem(cast: Cast, api: Callable[..., Any], body: Any) -> None:
    answer = api(cast.manager).send("post", f"projects/{cast.project.public_id}/judges/", body)
    assert answer.status_code in (400, 422)
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert not Judge.objects.exists()


def test_the_api_lets_only_managers_write(cast: Cast, api: Callable[..., Any]) -> None:
    base = f"projects/{cast.project.public_id}/judges/"
    judge = simulated_judge(cast)
    body = {"name": "X", "config": SIMULATED}
    assert api(cast.outsider).send("get", base).status_code == 404
    assert api(cast.outsider).send("get", f"{base}{judge.public_id}/").status_code == 404
    assert api(cast.viewer).send("post", base, body).status_code == 403
    assert api(cast.manager, "read").send("post", base, body).status_code == 403
    assert api().send("get", base).status_code == 401
    assert Judge.objects.count() == 1
