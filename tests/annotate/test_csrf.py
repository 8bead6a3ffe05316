"""The token of a page is one that Django takes, another one each time, and another person's is none."""

from __future__ import annotations

from collections import Counter

import pytest
from django.middleware.csrf import CSRF_ALLOWED_CHARS, CSRF_SECRET_LENGTH, _does_token_match
from django.test import Client, RequestFactory
from django.urls import reverse

from annotate.csrf import csrf, masked
from feedback.models import User

SECRET = "abcXYZ0189" * 3 + "qQ"


def test_django_reads_the_secret_back() -> None:
    tokens = [masked(SECRET) for _ in range(200)]
    assert all(_does_token_match(token, SECRET) for token in tokens)
    assert not any(_does_token_match(token, SECRET[::-1]) for token in tokens)
    assert len(set(tokens)) == 200


def test_every_character_is_as_likely_in_a_mask() -> None:
    """Over 32,000 draws each of 62 characters is expected 516 times, give or take 23."""
    counted = Counter("".join(masked(SECRET)[:CSRF_SECRET_LENGTH] for _ in range(1000)))
    assert set(counted) == set(CSRF_ALLOWED_CHARS)
    assert max(abs(count - 32_000 / 62) for count in counted.values()) < 160


def test_a_first_visit_gets_its_cookie_by_asking_for_a_token() -> None:
    request = RequestFactory().get("/")
    token = str(csrf(request)["csrf_token"])
    assert _does_token_match(token, request.META["CSRF_COOKIE"])
    assert request.META["CSRF_COOKIE_NEEDS_UPDATE"]


@pytest.mark.django_db
def test_a_form_is_taken_with_the_token_of_its_page_only() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_user("ada@example.org"), backend="annotate.sessions.Backend")
    token = str(client.get(reverse("queue")).context["csrf_token"])
    assert client.post(reverse("language"), {"language": "de"}).status_code == 403
    wrong = masked(SECRET)
    assert client.post(reverse("language"), {"language": "de", "csrfmiddlewaretoken": wrong}).status_code == 403
    assert client.post(reverse("language"), {"language": "de", "csrfmiddlewaretoken": token}).status_code == 302
