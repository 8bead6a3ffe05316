"""Invitations, roles, one-time logins and tokens."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from feedback.models import ApiToken, Invitation, LoginLink, Membership, User
from feedback.services import people
from tests.conftest import Cast, make_cast, make_user
from tests.feedback.test_queue import in_threads

GOOD = {"name": "Nia", "password": "a-long-enough-phrase-7"}


def invite(cast: Cast, email: str = "nia@example.org", role: str = "annotator") -> str:
    return reverse("invitation", args=[people.invite(cast.project, email, role, actor=cast.owner)])


def test_the_link_of_an_invitation_is_shown_once(cast: Cast, browser: Any) -> None:
    client = browser(cast.manager)
    body = {"email": "nia@example.org", "role": "annotator"}
    response = client.post(reverse("invite", args=[cast.project.public_id]), body)
    link = re.search(r"http://testserver(/account/invitation/[\w-]+/)", response.content.decode())
    assert link
    assert link[1] not in client.get(reverse("people", args=[cast.project.public_id])).content.decode()
    assert browser().get(link[1]).status_code == 200


def test_a_new_person_sets_name_and_password_and_is_in(cast: Cast, browser: Any) -> None:
    client, url = browser(), invite(cast)
    assert client.get(url).status_code == 200
    response = client.post(url, GOOD)
    assert (response.status_code, response.url) == (302, "/label/")
    user = User.objects.get(email="nia@example.org")
    assert user.name == "Nia"
    assert user.check_password(GOOD["password"])
    assert Membership.objects.get(user=user).role == "annotator"
    assert client.get(reverse("queue")).status_code == 200


def test_an_invitation_works_once(cast: Cast, browser: Any) -> None:
    url = invite(cast)
    browser().post(url, GOOD)
    assert browser().get(url).status_code == 410
    assert browser().post(url, GOOD | {"name": "Thief"}).status_code == 410
    assert User.objects.get(email="nia@example.org").name == "Nia"


def test_an_expired_or_made_up_invitation_is_gone(cast: Cast, browser: Any) -> None:
    url = invite(cast)
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    for path in (url, reverse("invitation", args=["made-up"])):
        assert browser().get(path).status_code == 410
        assert browser().post(path, GOOD).status_code == 410
    assert not User.objects.filter(email="nia@example.org").exists()


@pytest.mark.parametrize("password", ["", "short", "password123", "12345678"])
def test_a_weak_password_is_refused_and_uses_nothing_up(cast: Cast, browser: Any, password: str) -> None:
    url = invite(cast)
    assert browser().post(url, GOOD | {"password": password}).status_code == 422
    assert not User.objects.filter(email="nia@example.org").exists()
    assert browser().post(url, GOOD).status_code == 302


def test_a_known_person_accepts_with_one_button(cast: Cast, browser: Any) -> None:
    url = invite(cast, "outsider@example.org", "viewer")
    client = browser(cast.outsider)
    assert "Join" in client.get(url).content.decode()
    assert client.post(url).url == reverse("overview", args=[cast.project.public_id])


def test_an_invitation_is_of_no_use_to_somebody_else(cast: Cast, browser: Any) -> None:
    url = invite(cast, "outsider@example.org", "owner")
    client = browser(cast.viewer)
    assert "logged in as" in client.get(url).content.decode()
    client.post(url)  # logs the viewer out, accepts nothing
    assert client.get(reverse("projects")).status_code == 302
    assert Membership.objects.get(user=cast.viewer).role == "viewer"
    assert not Membership.objects.filter(user=cast.outsider).exists()


def test_a_visitor_without_login_cannot_take_a_known_persons_invitation(cast: Cast, browser: Any) -> None:
    url = invite(cast, "outsider@example.org", "owner")
    assert "Sign in" in browser().get(url).content.decode()
    assert browser().post(url, GOOD).status_code == 409
    cast.outsider.refresh_from_db()
    assert not cast.outsider.has_usable_password()


def test_a_manager_does_not_invite_an_owner(cast: Cast, browser: Any) -> None:
    body = {"email": "nia@example.org", "role": "owner"}
    assert browser(cast.manager).post(reverse("invite", args=[cast.project.public_id]), body).status_code == 403
    assert not Invitation.objects.exists()


@pytest.mark.parametrize("body", [{"email": "x", "role": "viewer"}, {"email": "a@b.co", "role": "king"}, {}])
def test_a_bad_invitation_is_a_422(cast: Cast, browser: Any, body: dict[str, str]) -> None:
    assert browser(cast.owner).post(reverse("invite", args=[cast.project.public_id]), body).status_code == 422


def test_a_member_is_not_invited_again(cast: Cast, browser: Any) -> None:
    body = {"email": "ANNOTATOR@example.org", "role": "viewer"}
    response = browser(cast.owner).post(reverse("invite", args=[cast.project.public_id]), body)
    assert response.status_code == 422
    assert "already a member" in response.content.decode()


def member_url(cast: Cast, name: str, who: Any) -> str:
    return reverse(name, args=[cast.project.public_id, who.public_id])


def test_an_owner_changes_roles_and_removes(cast: Cast, browser: Any) -> None:
    client = browser(cast.owner)
    client.post(member_url(cast, "member-role", cast.viewer), {"role": "reviewer"})
    assert Membership.objects.get(user=cast.viewer).role == "reviewer"
    client.post(member_url(cast, "member-remove", cast.viewer))
    assert not Membership.objects.filter(user=cast.viewer).exists()


def test_a_manager_cannot_make_himself_owner(cast: Cast, browser: Any) -> None:
    response = browser(cast.manager).post(member_url(cast, "member-role", cast.manager), {"role": "owner"})
    assert response.status_code == 403
    assert Membership.objects.get(user=cast.manager).role == "manager"


def test_the_last_owner_stays(cast: Cast, browser: Any) -> None:
    client = browser(cast.owner)
    assert client.post(member_url(cast, "member-remove", cast.owner)).status_code == 409
    assert client.post(member_url(cast, "member-role", cast.owner), {"role": "viewer"}).status_code == 409


def test_an_unknown_role_is_refused(cast: Cast, browser: Any) -> None:
    response = browser(cast.owner).post(member_url(cast, "member-role", cast.viewer), {"role": "king"})
    assert response.status_code == 422
    assert Membership.objects.get(user=cast.viewer).role == "viewer"


def test_a_login_link_logs_in_once_and_not_by_looking(cast: Cast, browser: Any) -> None:
    url = reverse("login-link", args=[LoginLink.make(cast.owner, timedelta(minutes=5))])
    assert browser().get(url).status_code == 200
    client = browser()
    assert client.post(url).url == "/"
    assert client.get("/").status_code == 200
    assert browser().post(url).status_code == 410


def test_an_expired_login_link_or_one_of_a_disabled_person_is_refused(cast: Cast, browser: Any) -> None:
    late = LoginLink.make(cast.owner, timedelta(seconds=-1))
    disabled = LoginLink.make(cast.viewer, timedelta(minutes=5))
    User.objects.filter(pk=cast.viewer.pk).update(is_active=False)
    for secret in (late, disabled, "made-up"):
        assert browser().post(reverse("login-link", args=[secret])).status_code == 410


def test_a_token_is_shown_once_and_works(cast: Cast, browser: Any) -> None:
    client = browser(cast.owner)
    body = {"name": "export", "scopes": ["read"], "days": "30"}
    response = client.post(reverse("tokens"), body)
    assert response.status_code == 201
    secret = re.search(r"tbk_[\w-]{40,}", response.content.decode())
    assert secret
    assert secret[0] not in client.get(reverse("tokens")).content.decode()
    assert "no-store" in response.headers["Cache-Control"]
    answer = browser().get("/api/v1/projects/", headers={"Authorization": f"Bearer {secret[0]}"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "change", [{"name": ""}, {"scopes": []}, {"scopes": ["root"]}, {"days": "366"}, {"days": "x"}, {"name": "a\u0000"}]
)
def test_a_bad_token_form_is_a_422(cast: Cast, browser: Any, change: dict[str, Any]) -> None:
    body = {"name": "export", "scopes": ["read"], "days": "30"} | change
    assert browser(cast.owner).post(reverse("tokens"), body).status_code == 422
    assert not ApiToken.objects.exists()


def test_revoking_ends_a_token_and_only_ones_own(cast: Cast, browser: Any) -> None:
    token = people.make_token(cast.owner, "x", ["read"])[0]
    url = reverse("token-revoke", args=[token.public_id])
    assert browser(cast.manager).post(url).status_code == 404
    assert ApiToken.objects.get().revoked_at is None
    browser(cast.owner).post(url)
    assert ApiToken.objects.get().revoked_at is not None


def test_the_people_page_asks_a_fixed_number_of_queries(
    cast: Cast, browser: Any, django_assert_max_num_queries: Any
) -> None:
    from tests.conftest import make_user

    for n in range(12):
        Membership.objects.create(project=cast.project, user=make_user(f"more{n}"), role="viewer")
    client = browser(cast.owner)
    with django_assert_max_num_queries(10):
        assert client.get(reverse("people", args=[cast.project.public_id])).status_code == 200


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_a_login_link_used_several_times_at_once_logs_in_once() -> None:
    user, entered = make_user("nia"), list[User]()
    secret = LoginLink.make(user, timedelta(hours=1))
    assert in_threads(6, lambda n: entered.extend(filter(None, [LoginLink.use(secret)]))) == []
    assert entered == [user]


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_an_invitation_form_sent_twice_at_once_makes_one_account_and_no_crash() -> None:
    cast, answers = make_cast(instances=0), list[int]()
    url = invite(cast)
    assert in_threads(4, lambda n: answers.append(Client().post(url, GOOD).status_code)) == []
    assert answers.count(302) == 1
    assert set(answers) <= {302, 409, 410}
    assert Membership.objects.filter(user__email="nia@example.org").count() == 1


@pytest.mark.django_db
def test_ten_wrong_passwords_lock_out_that_address_and_nobody_else(cast: Cast) -> None:
    for person in (cast.annotator, cast.viewer):
        person.set_password("a-long-enough-phrase-7")
        person.save()

    def log_in(person: Any, password: str) -> int:
        cache.clear()  # allauth's own limits are not what is tested
        body = {"login": person.email.upper(), "password": password}
        return Client().post(reverse("account_login"), body).status_code

    assert [log_in(cast.annotator, "wrong") for _ in range(11)][-1] == 429
    assert log_in(cast.annotator, "a-long-enough-phrase-7") == 429
    assert log_in(cast.viewer, "a-long-enough-phrase-7") == 302
