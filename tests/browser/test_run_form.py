"""The form that starts a run, in Chromium: it shows what the chosen objective reads."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.annotate.trained import version_of
from tests.browser.visiting import Visitors
from tests.conftest import Cast, make_cast

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast(instances=2)


def test_options_follow_the_objective(visitors: Visitors, cast: Cast) -> None:
    version_of(cast)
    page = visitors.page(cast.manager)
    page.goto(f"/p/{cast.project.public_id}/training/new/")
    margin, beta, heads = (page.get_by_label(name) for name in ("Margin scale", "Beta", "Heads"))
    expect(margin).to_be_visible()
    expect(beta).to_be_hidden()
    page.get_by_label("Objective").select_option("ensemble")
    expect(heads).to_be_visible()
    expect(page.get_by_text("Several reward models on one base model")).to_be_visible()
    page.get_by_label("Objective").select_option("simpo")
    expect(beta).to_be_visible()
    expect(margin).to_be_hidden()
    expect(heads).to_be_hidden()
    page.get_by_label("Objective").select_option("sft")
    expect(page.get_by_text("Options of the objective")).to_be_hidden()
