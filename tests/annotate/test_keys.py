"""The keys of the reading room: everybody's own, without two meanings."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import uuid4

import pytest

from annotate import keys
from feedback.services import queue
from tests.conftest import Cast, make_cast


def keep(client: Any, **changed: str) -> Any:
    return client.post("/account/keys/", keys.DEFAULTS | changed)


def in_the_room(response: Any, name: str) -> Any:
    found = re.search(rf'<script id="{name}" type="application/json">(.*?)</script>', response.content.decode())
    assert found
    return json.loads(found.group(1))


def test_chosen_keys_are_printed_and_given_to_the_script(cast: Cast, browser: Any) -> None:
    client = browser(cast.annotator)
    assert keep(client, skip="x", back="s").url == "/account/keys/"
    page = client.get(f"/label/{cast.task.public_id}/")
    assert in_the_room(page, "room-keys") == keys.DEFAULTS | {"skip": "x", "back": "s"}
    assert "Skip <kbd>x</kbd>" in page.content.decode()
    assert "Back <kbd>s</kbd>" in page.content.decode()
    other = browser(cast.manager).get(f"/label/{cast.task.public_id}/")
    assert in_the_room(other, "room-keys") == keys.DEFAULTS


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("j", "“j” is already the key of “Next row”."),
        ("5", "“5” belongs to the answers."),
        ("c", "“c” belongs to the answers."),
        (" ", "Press one key"),
        ("\u202e", "Press one key"),
        ("xy", "at most 1 character"),
        ("", "This field is required."),
    ],
)
def test_a_key_that_cannot_be_is_refused_with_the_reason(cast: Cast, browser: Any, key: str, words: str) -> None:
    response = keep(browser(cast.annotator), skip=key)
    assert response.status_code == 422
    assert words in response.content.decode()
    cast.annotator.refresh_from_db()
    assert "keys" not in cast.annotator.preferences


def test_keys_can_be_reset(cast: Cast, browser: Any) -> None:
    client = browser(cast.annotator)
    keep(client, skip="x")
    client.post("/account/keys/", {"reset": "1"})
    cast.annotator.refresh_from_db()
    assert keys.keys_of(cast.annotator) == keys.DEFAULTS


def test_stored_keys_that_clash_with_a_newer_default_fall_back(cast: Cast) -> None:
    cast.annotator.preferences = {"keys": {"skip": "g", "gone": "q"}}
    assert keys.keys_of(cast.annotator) == keys.DEFAULTS


def answered(cast: Cast, count: int) -> list[Any]:
    """The annotator's annotations, oldest first."""
    made = []
    for _ in range(count):
        lent = queue.next_assignment(cast.task, cast.annotator)
        answers = {"overall": {"value": "tie"}}
        made.append(queue.submit(lent, submission_id=uuid4(), answers=answers, active_ms=0)[0])
    return made


def test_back_walks_through_the_last_answers_and_forward_returns_to_the_work(db: None, browser: Any) -> None:
    cast = make_cast(instances=4)
    first, second, third = answered(cast, 3)
    client = browser(cast.annotator)
    work = client.get(f"/label/{cast.task.public_id}/")
    seen = []
    url = in_the_room(work, "work-data")["urls"]["back"]
    for _ in range(4):
        page = client.get(url, follow=True)
        seen.append(page.redirect_chain[-1][0])
        url = in_the_room(page, "work-data")["urls"]["back"]
    wanted = [f"/label/annotation/{row.public_id}/?from=room" for row in (third, second, first, first)]
    assert seen == wanted
    forward = in_the_room(page, "work-data")["urls"]["forward"]
    assert client.get(forward).url == wanted[1]
    newest = client.get(wanted[0])
    assert client.get(in_the_room(newest, "work-data")["urls"]["forward"]).url == f"/label/{cast.task.public_id}/"
    assert in_the_room(newest, "work-data")["urls"]["next"] == f"/label/{cast.task.public_id}/"


def test_back_without_an_answer_stays_at_the_work(cast: Cast, browser: Any) -> None:
    client = browser(cast.annotator)
    assert client.get(f"/label/{cast.task.public_id}/beside/").url == f"/label/{cast.task.public_id}/"
    assert client.get(f"/label/{cast.task.public_id}/beside/?than=x").status_code == 404
    assert browser(cast.outsider).get(f"/label/{cast.task.public_id}/beside/").status_code == 404
