"""The language of the annotator's pages: chosen by the person, complete, and never half of a page."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.utils.translation import ngettext, override

from annotate import catalogues
from tests.conftest import Cast

BOTH = [(language, domain) for language in catalogues.LANGUAGES for domain in catalogues.DOMAINS]


def choose(client: Any, language: str, back: str = "/label/") -> Any:
    return client.post("/account/language/", {"language": language, "next": back})


def opening(response: Any) -> str:
    """The first tag of a page."""
    found = re.search(r"<html[^>]*>", response.content.decode())
    return found.group() if found else ""


def test_a_person_keeps_the_chosen_language_in_every_browser(cast: Cast, browser: Any) -> None:
    assert choose(browser(cast.annotator), "ar").url == "/label/"
    cast.annotator.refresh_from_db()
    assert cast.annotator.preferences == {"language": "ar"}
    elsewhere = browser(cast.annotator).get("/label/", headers={"Accept-Language": "de"})
    assert opening(elsewhere) == '<html lang="ar" dir="rtl">'
    assert elsewhere.headers["Content-Language"] == "ar"


def test_choosing_a_language_keeps_other_preferences(cast: Cast, browser: Any) -> None:
    cast.annotator.preferences = {"keys": {"skip": "x"}}
    cast.annotator.save()
    choose(browser(cast.annotator), "de")
    cast.annotator.refresh_from_db()
    assert cast.annotator.preferences == {"keys": {"skip": "x"}, "language": "de"}


def test_a_visitor_is_spoken_to_in_the_language_of_the_browser_until_choosing(db: None, browser: Any) -> None:
    visitor = browser()
    german = visitor.get("/account/login/", headers={"Accept-Language": "de-AT,de;q=0.9"})
    assert opening(german) == '<html lang="de">'
    choose(visitor, "en", "/account/login/")
    assert opening(visitor.get("/account/login/", headers={"Accept-Language": "de"})) == '<html lang="en">'


@pytest.mark.parametrize("language", ["", "fr", "../de", "x" * 500])
def test_an_unknown_language_is_refused(cast: Cast, browser: Any, language: str) -> None:
    assert choose(browser(cast.annotator), language).status_code == 422
    cast.annotator.refresh_from_db()
    assert cast.annotator.preferences == {}


def test_the_choice_leads_to_no_other_site(cast: Cast, browser: Any) -> None:
    assert choose(browser(cast.annotator), "de", "https://evil.example/").url == "/"


def test_a_name_in_another_script_stands_by_itself(cast: Cast, browser: Any) -> None:
    annotator = browser(cast.annotator)
    choose(annotator, "ar")
    queue = annotator.get("/label/").content.decode()
    assert f"<bdi>{cast.task.name}</bdi>" in queue
    assert f"<bdi>{cast.project.name}</bdi>" in queue
    assert 'class="room-task truncate" dir="auto"' in annotator.get(f"/label/{cast.task.public_id}/").content.decode()


def test_the_control_room_stays_english(cast: Cast, browser: Any) -> None:
    owner = browser(cast.owner)
    choose(owner, "ar")
    assert opening(owner.get(f"/p/{cast.project.public_id}/")) == '<html lang="en">'


def test_scripts_get_the_words_of_the_page(cast: Cast, browser: Any) -> None:
    client = browser(cast.annotator)
    assert b"script-words" not in client.get("/label/").content
    choose(client, "de")
    page = client.get("/label/").content.decode()
    found = re.search(r'<script id="script-words" type="application/json">(.*?)</script>', page)
    assert found
    assert json.loads(found.group(1))["Saved"] == "Gespeichert"


@pytest.mark.parametrize(("language", "domain"), BOTH)
def test_compiled_catalogues_say_what_their_sources_say(language: str, domain: str) -> None:
    built = catalogues.catalogue_path(language, domain).with_suffix(".mo").read_bytes()
    assert built == catalogues.compiled(catalogues.read(language, domain)), "run manage.py catalogues"


@pytest.mark.parametrize(("language", "domain"), BOTH)
def test_translations_keep_the_places_of_values(language: str, domain: str) -> None:
    named = re.compile(r"%\(\w+\)s" if domain == "django" else r"\{\w+\}")
    for message in catalogues.read(language, domain):
        ids, strings = ([x] if isinstance(x, str) else list(x) for x in (message.id, message.string))
        places = {place for words in ids for place in named.findall(words)}
        for string in filter(None, strings if message.id else []):
            # Arabic says one and two without a numeral
            assert set(named.findall(string)) in (places, places - {"%(n)s", "{n}"}), (message.id, string)


def test_arabic_counts_in_six_forms() -> None:
    with override("ar"):
        said = [ngettext("%(n)s word", "%(n)s words", n) % {"n": n} for n in (0, 1, 2, 3, 11, 100)]
    assert said == ["لا كلمات", "كلمة واحدة", "كلمتان", "3 كلمات", "11 كلمة", "100 كلمة"]


@pytest.mark.parametrize(("language", "domain"), BOTH)
def test_every_word_of_the_annotators_pages_is_translated(language: str, domain: str) -> None:
    wanted = {(message.id, message.context) for message in catalogues.template_of(domain) if message.id}
    catalogue = catalogues.read(language, domain)
    assert wanted == {(message.id, message.context) for message in catalogue if message.id}, "run manage.py catalogues"
    assert catalogues.untranslated(catalogue) == []
