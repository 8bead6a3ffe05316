"""Projects, members, tasks, labelling, annotations, jobs and tokens over REST."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from feedback.models import Annotation, ApiToken, Assignment, Job, JobKind, Membership, Task
from feedback.services import budget, people, queue, tasks
from tests.conftest import QUESTIONS, Cast

ANSWER = {"overall": {"value": "a-is-clearly-better"}}


def path(cast: Cast, rest: str = "") -> str:
    return f"projects/{cast.project.public_id}/{rest}"


def submission(answers: Any = ANSWER) -> dict[str, Any]:
    return {"submission_id": str(uuid4()), "answers": answers, "active_ms": 900}


# projects and members


def test_a_project_is_made_read_and_renamed(cast: Cast, api: Any) -> None:
    client = api(cast.outsider)
    made = client.send("POST", "projects/", {"name": "Mine", "currency": "EUR"})
    assert made.status_code == 201
    assert (made.json()["currency"], made.json()["role"]) == ("EUR", "owner")
    one = f"projects/{made.json()['id']}/"
    assert client.send("PATCH", one, {"name": "Ours"}).json()["currency"] == "EUR"
    assert client.send("PATCH", one, {"currency": "USD"}).status_code == 422
    assert client.send("GET", one).json()["name"] == "Ours"


def test_members_are_listed_invited_changed_and_removed(cast: Cast, api: Any, browser: Any) -> None:
    client = api(cast.owner)
    assert len(client.send("GET", path(cast, "members/")).json()["results"]) == 5
    invited = client.send("POST", path(cast, "members/"), {"email": "nia@example.org", "role": "viewer"})
    assert invited.status_code == 201
    assert browser().get(invited.json()["url"]).status_code == 200
    one = path(cast, f"members/{cast.viewer.public_id}/")
    assert client.send("PATCH", one, {"role": "reviewer"}).json()["role"] == "reviewer"
    assert client.send("DELETE", one).status_code == 204
    assert client.send("GET", one).status_code == 404


@pytest.mark.parametrize("role", ["king", "", None, 3, ["owner"]])
def test_an_unknown_role_is_a_422(cast: Cast, api: Any, role: Any) -> None:
    client = api(cast.owner)
    for response in (
        client.send("PATCH", path(cast, f"members/{cast.viewer.public_id}/"), {"role": role}),
        client.send("POST", path(cast, "members/"), {"email": "a@b.co", "role": role}),
    ):
        assert response.status_code == 422
        assert "role" in response.json()["errors"]
    assert Membership.objects.get(user=cast.viewer).role == "viewer"


def test_a_manager_neither_promotes_nor_invites_an_owner(cast: Cast, api: Any) -> None:
    client = api(cast.manager)
    assert client.send("PATCH", path(cast, f"members/{cast.manager.public_id}/"), {"role": "owner"}).status_code == 403
    assert client.send("POST", path(cast, "members/"), {"email": "a@b.co", "role": "owner"}).status_code == 403


def test_the_last_owner_stays(cast: Cast, api: Any) -> None:
    response = api(cast.owner).send("DELETE", path(cast, f"members/{cast.owner.public_id}/"))
    assert (response.status_code, response.json()["code"]) == (409, "wrong-state")


# tasks


def test_a_task_goes_from_draft_to_closed(cast: Cast, api: Any) -> None:
    client = api(cast.manager)
    body = {"name": "T", "questions": QUESTIONS, "guideline": "Be *kind*.", "budget_micros": 5_000_000, "overlap": 2}
    made = client.send("POST", path(cast, "tasks/"), body)
    assert made.status_code == 201
    task = made.json()
    assert (task["state"], task["overlap"], task["guideline"]["text"]) == ("draft", 2, "Be *kind*.")
    assert (task["budget"]["cap_micros"], task["budget"]["left_micros"]) == (5_000_000, 5_000_000)
    one = path(cast, f"tasks/{task['id']}/")
    assert client.send("POST", f"{one}open/").json()["code"] == "wrong-state"
    from tests.conftest import make_instances

    make_instances(Task.objects.get(public_id=task["id"]), 1)
    assert client.send("POST", f"{one}open/").json()["state"] == "open"
    assert client.send("POST", f"{one}close/").json()["state"] == "closed"
    assert client.send("PATCH", one, {"lease_minutes": 5}).json()["lease_minutes"] == 5


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 121}, "name"),
        ({"questions": []}, "questions"),
        ({"questions": [{"kind": "riddle"}]}, "questions.0"),
        ({"questions": [{**QUESTIONS[0], "steps": 4}]}, "questions.0.preference.steps"),
        ({"questions": QUESTIONS * 2}, "questions.overall"),
        ({"questions": "x"}, "questions"),
        ({"overlap": 0}, "overlap"),
        ({"overlap": 10**30}, "overlap"),
        ({"budget_micros": -1}, "budget_micros"),
        ({"human_price_micros": 1e300}, "human_price_micros"),
    ],
)
def test_a_bad_task_is_a_422_that_names_its_field(cast: Cast, api: Any, change: Any, field: str) -> None:
    response = api(cast.manager).send("POST", path(cast, "tasks/"), {"name": "T", "questions": QUESTIONS} | change)
    assert response.status_code == 422
    assert any(name.startswith(field) for name in response.json()["errors"]), response.json()["errors"]
    assert Task.objects.count() == 1


def test_a_second_task_of_one_name_is_a_409(cast: Cast, api: Any) -> None:
    response = api(cast.manager).send("POST", path(cast, "tasks/"), {"name": cast.task.name, "questions": QUESTIONS})
    assert response.status_code == 409


def test_states_and_money_are_not_set_by_writing_fields(cast: Cast, api: Any) -> None:
    body = {"state": "closed", "questions_version": 9, "budget": {"spent_micros": 5}, "id": str(uuid4())}
    refused = api(cast.manager).send("PATCH", path(cast, f"tasks/{cast.task.public_id}/"), body)
    assert (refused.status_code, set(refused.json()["errors"])) == (422, set(body))
    cast.task.refresh_from_db()
    assert (cast.task.state, cast.task.questions_version) == ("open", 1)
    assert budget.budget_of(cast.task).spent_micros == 0


def test_a_guideline_gets_a_new_version(cast: Cast, api: Any) -> None:
    client, url = api(cast.manager), path(cast, f"tasks/{cast.task.public_id}/guidelines/")
    assert client.send("POST", url, {"text": "Second."}).json()["number"] == 2
    assert [row["number"] for row in client.send("GET", url).json()["results"]] == [2, 1]


def test_the_cap_is_set_and_never_below_what_is_spent(cast: Cast, api: Any) -> None:
    client, url = api(cast.manager), path(cast, f"tasks/{cast.task.public_id}/budget/")
    assert client.send("PUT", url, {"cap_micros": 2_000_000}).json()["left_micros"] == 2_000_000
    budget.reserve(cast.task, 1_500_000)
    response = client.send("PUT", url, {"cap_micros": 1_000_000})
    assert response.status_code == 422
    assert "cap" in response.json()["errors"]


def test_tasks_are_filtered_by_state(cast: Cast, api: Any) -> None:
    client = api(cast.viewer, "read")
    assert len(client.send("GET", path(cast, "tasks/?state=open")).json()["results"]) == 1
    assert client.send("GET", path(cast, "tasks/?state=draft")).json()["results"] == []
    assert client.send("GET", path(cast, "tasks/?state=other")).status_code == 400


# labelling


@pytest.fixture
def lent(cast: Cast, api: Any) -> tuple[Any, dict[str, Any]]:
    client = api(cast.annotator, "annotate")
    response = client.send("POST", path(cast, "assignments/next/"), {"task": str(cast.task.public_id)})
    assert response.status_code == 200
    return client, response.json()


def test_the_queue_names_what_is_open_to_the_token(cast: Cast, api: Any) -> None:
    (row,) = api(cast.annotator, "annotate").send("GET", "queue/").json()
    assert (row["task"], row["done"], row["left"]) == (str(cast.task.public_id), 0, 5)
    assert api(cast.viewer).send("GET", "queue/").json() == []


def test_an_assignment_is_blind_and_in_drawn_order(cast: Cast, lent: Any) -> None:
    _, assignment = lent
    row = Assignment.objects.get()
    assert [completion["index"] for completion in assignment["completions"]] == row.order
    stored = row.instance.completions
    assert [completion["content"] for completion in assignment["completions"]] == [
        stored[index]["content"] for index in row.order
    ]
    assert "m1" not in str(assignment)


def test_next_is_the_same_until_submitted(cast: Cast, lent: Any) -> None:
    client, assignment = lent
    body = {"task": str(cast.task.public_id)}
    assert client.send("POST", path(cast, "assignments/next/"), body).json()["id"] == assignment["id"]
    one = path(cast, f"assignments/{assignment['id']}/")
    assert client.send("POST", f"{one}submit/", submission()).status_code == 201
    assert client.send("POST", path(cast, "assignments/next/"), body).json()["id"] != assignment["id"]


def test_draft_submit_repeat_and_undo(cast: Cast, lent: Any) -> None:
    client, assignment = lent
    one, body = path(cast, f"assignments/{assignment['id']}/"), submission()
    draft = client.send("PUT", f"{one}draft/", {"version": 0, "answers": ANSWER})
    assert draft.json()["version"] == 1
    stale = client.send("PUT", f"{one}draft/", {"version": 0, "answers": {}})
    assert (stale.status_code, stale.json()["code"], stale.json()["answers"]) == (409, "draft-conflict", ANSWER)
    first = client.send("POST", f"{one}submit/", body)
    again = client.send("POST", f"{one}submit/", body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    undone = client.send("POST", path(cast, f"annotations/{first.json()['annotation']}/undo/"))
    assert (undone.status_code, undone.json()["state"]) == (200, "lent")
    assert not Annotation.objects.live().exists()


@pytest.mark.parametrize("what", ["skip", "flag"])
def test_skip_and_flag(cast: Cast, lent: Any, what: str) -> None:
    client, assignment = lent
    url = path(cast, f"assignments/{assignment['id']}/{what}/")
    assert client.send("POST", url, {"reason": "no such"}).status_code == 422
    assert client.send("POST", url, {"reason": "other"}).json()["state"] in ("skipped", "flagged")
    assert client.send("POST", url, {"reason": "other"}).json()["code"] == "wrong-state"


def test_another_persons_assignment_is_not_found(cast: Cast, api: Any, lent: Any) -> None:
    one = path(cast, f"assignments/{lent[1]['id']}/")
    for who in (cast.owner, cast.reviewer):
        client = api(who)
        assert client.send("GET", one).status_code == 404
        assert client.send("PUT", f"{one}draft/", {"version": 0, "answers": {}}).status_code == 404
        assert client.send("POST", f"{one}submit/", submission()).status_code == 404
        assert client.send("POST", f"{one}skip/", {"reason": "other"}).status_code == 404
    assert Assignment.objects.get().state == "lent"


def test_a_task_says_what_everybody_must_read_and_have(cast: Cast, api: Any) -> None:
    client, one = api(cast.manager), path(cast, f"tasks/{cast.task.public_id}/")
    changed = client.send("PATCH", one, {"languages": ["pt_BR", "de", "de"], "skills": ["  Law "]})
    assert (changed.json()["languages"], changed.json()["skills"]) == (["de", "pt-br"], ["law"])
    assert client.send("PATCH", one, {"overlap": 2}).json()["skills"] == ["law"]
    for body, path_of in (
        ({"languages": ["Klingonese!"]}, "languages"),
        ({"skills": ["a, b"]}, "skills"),
        ({"skills": ["s"] * 41}, "skills"),
        ({"languages": "de"}, "languages"),
    ):
        refused = client.send("PATCH", one, body)
        assert (refused.status_code, list(refused.json()["errors"])) == (422, [path_of])
    made = client.send("POST", path(cast, "tasks/"), {"name": "T", "questions": QUESTIONS, "languages": ["fr"]})
    assert (made.status_code, made.json()["languages"]) == (201, ["fr"])


def test_a_foreign_task_cannot_be_labelled(cast: Cast, api: Any) -> None:
    own = people.create_project("Own", owner=cast.outsider)
    url = f"projects/{own.public_id}/assignments/next/"
    assert api(cast.outsider).send("POST", url, {"task": str(cast.task.public_id)}).status_code == 404
    assert api(cast.outsider).send("POST", url, {"task": "x"}).status_code == 422


def test_annotations_are_listed_with_pseudonyms_and_filters(cast: Cast, api: Any, lent: Any) -> None:
    client, assignment = lent
    client.send("POST", path(cast, f"assignments/{assignment['id']}/submit/"), submission())
    reader = api(cast.viewer, "read")
    (row,) = reader.send("GET", path(cast, f"annotations/?task={cast.task.public_id}&source=human")).json()["results"]
    assert row["answers"]["overall"]["value"] == "a-is-clearly-better"
    assert row["annotator_name"].startswith("human-")
    assert "annotator@example.org" not in str(row)
    assert reader.send("GET", path(cast, "annotations/?source=judge")).json()["results"] == []
    assert reader.send("GET", path(cast, f"annotations/{row['id']}/")).json() == row


def test_the_own_answer_can_be_changed_and_nobody_elses(cast: Cast, api: Any, lent: Any) -> None:
    client, assignment = lent
    made = client.send("POST", path(cast, f"assignments/{assignment['id']}/submit/"), submission()).json()
    one, tie = path(cast, f"annotations/{made['annotation']}/"), {"answers": {"overall": {"value": "tie"}}}
    assert api(cast.owner).send("PUT", one, tie).status_code == 404
    assert client.send("PUT", one, {"answers": {"overall": {"value": "x"}}}).status_code == 422
    assert client.send("PUT", one, tie).json()["answers"]["overall"]["value"] == "tie"


def test_lists_ask_a_fixed_number_of_queries(cast: Cast, api: Any, django_assert_max_num_queries: Any) -> None:
    from feedback.models import Annotator

    for instance in cast.task.instances.all():
        for name in ("p", "q"):
            voice = Annotator.objects.get_or_create(project=cast.project, kind="human", name=name)[0]
            Annotation.objects.create(
                task=cast.task, instance=instance, annotator=voice, source="human", answers=ANSWER
            )
    client = api(cast.owner)
    for noun in ("annotations/", "tasks/", "members/", "jobs/", "assignments/"):
        with django_assert_max_num_queries(8):
            assert client.send("GET", path(cast, noun)).status_code == 200


def test_assignments_of_many_question_versions_are_read_in_as_many_queries_as_of_one(
    cast: Cast, api: Any, django_assert_max_num_queries: Any
) -> None:
    client = api(cast.annotator)
    wanted, asked = path(cast, "assignments/"), {}
    with CaptureQueriesContext(connection) as queries:
        assert client.send("GET", wanted).status_code == 200
    for n in range(4):
        tasks.edit_task(cast.task, actor=cast.owner, questions=[QUESTIONS[0] | {"title": f"Title {n}"}])
        cast.task.refresh_from_db()
        lent = queue.next_assignment(cast.task, cast.annotator)
        queue.submit(lent, submission_id=uuid4(), answers={"overall": {"value": "tie"}}, active_ms=0)
        asked[str(lent.public_id)] = f"Title {n}"
    with django_assert_max_num_queries(len(queries)):
        found = client.send("GET", wanted).json()["results"]
    assert {one["id"]: one["questions"][0]["title"] for one in found} == asked


# jobs and tokens


def test_a_job_is_shown_and_cancelled_once(cast: Cast, api: Any) -> None:
    job = Job.objects.create(project=cast.project, kind=JobKind.FREEZE)
    client, one = api(cast.manager), path(cast, f"jobs/{job.public_id}/")
    assert client.send("GET", one).json()["state"] == "queued"
    assert client.send("POST", f"{one}cancel/").json()["state"] == "cancelled"
    assert client.send("POST", f"{one}cancel/").json()["code"] == "wrong-state"
    assert client.send("GET", path(cast, "jobs/?state=cancelled&kind=freeze")).json()["results"]


def test_a_token_lists_and_revokes_but_never_makes_one(cast: Cast, api: Any) -> None:
    client = api(cast.owner)
    assert client.send("POST", "tokens/", {"name": "x", "scopes": ["read"]}).status_code == 403
    (row,) = client.send("GET", "tokens/").json()["results"]
    assert "digest" not in row
    assert "secret" not in row
    assert client.send("DELETE", f"tokens/{row['id']}/").status_code == 204
    assert client.send("GET", "tokens/").status_code == 401


def test_a_session_makes_a_token_and_sees_its_secret_once(cast: Cast, browser: Any) -> None:
    client = browser(cast.owner)
    body = {"name": "x", "scopes": ["read", "annotate"], "days": 3}
    made = client.post("/api/v1/tokens/", body, content_type="application/json")
    assert made.status_code == 201
    assert made.json()["secret"].startswith("tbk_")
    assert ApiToken.objects.get().scopes == ["annotate", "read"]
    assert "secret" not in client.get(f"/api/v1/tokens/{made.json()['id']}/").json()


def test_another_persons_token_is_not_found(cast: Cast, api: Any) -> None:
    token = people.make_token(cast.owner, "x", ["read"])[0]
    assert api(cast.manager).send("DELETE", f"tokens/{token.public_id}/").status_code == 404
