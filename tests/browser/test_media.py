"""Images, audio and video among the texts: seen, heard, and moved about in by keys that stay the player's own."""

from __future__ import annotations

import io
import math
import struct
import wave
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.annotate.test_media import png
from tests.browser.visiting import Visitors
from tests.conftest import Cast, make_cast

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def tone(seconds: int = 20, rate: int = 8000) -> bytes:
    """A sound that is silent in its first half and loud in its second."""
    samples = [int(20_000 * math.sin(i / 3)) if i > seconds * rate // 2 else 0 for i in range(seconds * rate)]
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return made.getvalue()


@pytest.fixture
def cast(transactional_db: None, settings: Any, tmp_path: Path) -> Cast:
    from feedback.services import media

    settings.FILES_DIR = tmp_path / "files"
    cast = make_cast(instances=2)
    for name, data in (("cat.png", png(8)), ("tone.wav", tone()), ("broken.mp3", b"ID3" + b"\0" * 500)):
        media.store_media(cast.task, [data], name, actor=cast.owner)
    parts = [{"type": "image", "file": "cat.png", "alt": "A cat"}, {"type": "text", "text": "What is this?"}]
    sounds = [
        {"type": "text", "text": "It sounds so."},
        {"type": "audio", "file": "tone.wav", "alt": "A tone"},
        {"type": "audio", "file": "broken.mp3", "alt": "Broken"},
    ]
    cast.task.instances.update(
        prompt=[{"role": "user", "content": parts}], completions=[{"content": sounds}, {"content": "x"}]
    )
    return cast


def open_work(visitors: Visitors, cast: Cast) -> Page:
    page = visitors.page(cast.annotator)
    page.goto(f"/label/{cast.task.public_id}/")
    expect(page.locator("#save-state")).to_have_text("Saved")
    return page


def inked(page: Page) -> list[int]:
    """How many pixels of the waveform are drawn, in the first and in the second half."""
    return list(
        page.get_by_role("slider", name="A tone").evaluate(
            """canvas => {
              const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
              const halves = [0, 0];
              for (let i = 3; i < data.length; i += 4) if (data[i]) halves[((i - 3) / 4) % width < width / 2 ? 0 : 1]++;
              return halves;
            }"""
        )
    )


def test_a_waveform_is_drawn_and_sought_in_by_key_and_by_pointer(visitors: Visitors, cast: Cast) -> None:
    page = open_work(visitors, cast)
    slider = page.get_by_role("slider", name="A tone")
    slider.scroll_into_view_if_needed()
    expect(slider).to_have_attribute("data-ready", "")
    expect(slider).to_have_attribute("aria-valuemax", "20.0")
    quiet, loud = inked(page)
    assert loud > 5 * quiet > 0
    here = page.locator("#work-data").text_content()
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuenow", "5.0")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "0:10 / 0:20")
    page.keyboard.press("End")
    expect(slider).to_have_attribute("aria-valuenow", "20.0")
    page.keyboard.press("Home")
    expect(slider).to_have_attribute("aria-valuenow", "0.0")
    box = slider.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(slider).to_have_attribute("aria-valuetext", "0:10 / 0:20")
    page.keyboard.press(" ")
    page.wait_for_function(
        "() => !document.querySelector('audio').paused || document.querySelector('audio').currentTime > 10"
    )
    page.keyboard.press(" ")
    assert page.locator("#work-data").text_content() == here  # no key went on to the room


def test_a_reviewer_sees_and_hears_the_same(visitors: Visitors, cast: Cast) -> None:
    instance = cast.task.instances.first()
    page = visitors.page(cast.owner)
    page.goto(f"/p/{cast.project.public_id}/instances/{instance.public_id}/")
    slider = page.get_by_role("slider", name="A tone")
    slider.scroll_into_view_if_needed()
    expect(slider).to_have_attribute("data-ready", "")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuenow", "5.0")
    expect(page).to_have_url(f"{visitors.site.url}/p/{cast.project.public_id}/instances/{instance.public_id}/")


def test_the_keys_of_a_player_are_its_own(visitors: Visitors, cast: Cast) -> None:
    page = open_work(visitors, cast)
    page.locator("audio").first.focus()
    for key in ("1", "s", "ArrowRight"):
        page.keyboard.press(key)
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(page.locator(".strength-main input:checked")).to_have_count(0)


def test_an_image_is_shown_and_a_sound_that_cannot_be_read_breaks_nothing(visitors: Visitors, cast: Cast) -> None:
    page = open_work(visitors, cast)
    image = page.get_by_role("img", name="A cat")
    page.wait_for_function("() => document.querySelector('.media img').complete")
    assert image.evaluate("image => image.naturalWidth") == 8
    broken = page.get_by_role("slider", name="Broken")
    broken.scroll_into_view_if_needed()
    expect(broken).to_have_attribute("aria-valuemax", "0.0")
    page.keyboard.press("1")
    expect(page.locator(".strength-main input:checked")).to_have_count(1)
