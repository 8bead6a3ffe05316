"""Times of sound and video: what is marked on the line is what is stored, returned and exported, in milliseconds."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Locator, Page, expect

from feedback.questions import parse_questions
from tests.browser.answering import by_api, frozen, stored, submit
from tests.browser.test_media import tone
from tests.browser.test_screens import AXE, accessibility
from tests.browser.visiting import Visitors, Worker
from tests.conftest import Cast, make_cast

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

QUESTION = {
    "kind": "span",
    "name": "errors",
    "title": "Mark what is wrong",
    "types": [{"name": "Noise", "subtypes": ["Hiss", "Click"]}, {"name": "Too fast"}],
    "severities": {"minor": 1, "major": 5},
    "on_prompt": True,
    "on_media": True,
}
LENGTH = 20_000  # of the tone, in milliseconds
LEFT, RIGHT = [0, 1], [1, 0]


@pytest.fixture(autouse=True)
def _files(settings: Any, tmp_path: Path) -> None:
    settings.FILES_DIR = tmp_path / "files"


def lend(cast: Cast, order: list[int], draft: Any = (), **changes: Any) -> None:
    """An instance with a sound in its prompt and two beside the text of completion 0, lent to the annotator."""
    from feedback.models import Assignment, Instance
    from feedback.services import media, queue, tasks

    cast.task.questions = [one.model_dump() for one in parse_questions([{**QUESTION, **changes}])]
    cast.task.save(update_fields=["questions"])
    media.store_media(cast.task, [tone()], "gpt.wav", actor=cast.owner)
    sound = {"type": "audio", "file": "gpt.wav", "alt": ""}
    instance = Instance.objects.create(
        task=cast.task,
        external_id="heard",
        prompt=[{"role": "user", "content": [{"type": "text", "text": "Listen"}, sound]}],
        completions=[{"content": [{"type": "text", "text": "It hums"}, sound, sound]}, {"content": "Nothing"}],
        prompt_hash="0" * 64,
        open_slots=0,
    )
    tasks.open_task(cast.task, actor=cast.owner)
    Assignment.objects.create(
        task=cast.task,
        instance=instance,
        annotator=queue.annotator_of(cast.project, cast.annotator),
        order=order,
        draft={"errors": {"spans": [], "missing": [], "times": list(draft)}} if draft else {},
        lease_expires_at=timezone.now() + timedelta(hours=1),
    )


def open_room(visitors: Visitors, cast: Cast, **options: Any) -> Page:
    page = visitors.page(cast.annotator, **options)
    page.goto(f"/label/{cast.task.public_id}/")
    expect(page.locator("#save-state")).to_have_text("Saved")
    return page


def line(page: Page, target: int, media: int) -> Locator:
    """The line of time of a sound, in view and with its length known."""
    found = page.locator(f'[data-media][data-target="{target}"][data-index="{media}"] [data-waveform]')
    found.scroll_into_view_if_needed()
    expect(found).to_have_attribute("aria-valuemax", "20.0")
    return found


def drag(page: Page, found: Locator, start: float, end: float) -> None:
    """From one share of the line to another."""
    box = found.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + (start + end) / 2 * box["width"], middle)
    page.mouse.move(box["x"] + end * box["width"], middle)
    page.mouse.up()


def opened(page: Page) -> tuple[int, int]:
    """The ends of the time that the popover shows, in milliseconds."""
    expect(page.locator(".span-popover")).to_be_visible()
    first, last = (page.get_by_label(f"{end} second").input_value() for end in ("From", "To"))
    return round(1000 * float(first)), round(1000 * float(last))


def time(start: int, end: int, kind: str, target: int = 0, media: int = 0, **more: Any) -> dict[str, Any]:
    blank = {"subtype": "", "severity": "", "comment": "", "confidence": None}
    return {"target": target, "media": media, "start_ms": start, "end_ms": end, "type": kind, **blank, **more}


def answer_of(cast: Cast) -> dict[str, Any]:
    found: dict[str, Any] = stored(cast.task)["heard"]["errors"]
    return found


def assert_stored_returned_and_exported(cast: Cast, url: str, times: list[dict[str, Any]]) -> None:
    answer = {"spans": [], "missing": [], "times": times}
    assert stored(cast.task) == {"heard": {"errors": answer}}
    assert by_api(cast, url, cast.task) == {"heard": {"errors": answer}}
    rows = frozen(cast, cast.task, ["raw", "spans"])
    [raw], [spans] = rows["raw"], rows["spans"]
    assert json.loads(raw["answers"])["errors"] == answer
    assert (raw["answer.errors.times"], raw["answer.errors.spans"]) == (len(times), 0)
    names = {"error type": "type", "explanation": "comment"}
    exported = [{names.get(name, name): value for name, value in one.items()} for one in spans["feedback"]["times"]]
    assert exported == times
    for one in times:  # each lies on a media file that the row names
        of = "completion" if one["target"] >= 0 else "prompt"
        shown = [each for each in spans["media"] if (each["of"], each["index"]) == (of, max(one["target"], 0))]
        assert shown[one["media"]]["kind"] == "audio"


@pytest.mark.parametrize("order", [LEFT, RIGHT], ids=["stored order", "sides exchanged"])
def test_what_the_mouse_marks_is_stored_returned_and_exported(
    visitors: Visitors, worker: Worker, order: list[int]
) -> None:
    cast = make_cast(instances=0)
    lend(cast, order)
    page = open_room(visitors, cast)
    drag(page, line(page, 0, 1), 0.25, 0.5)
    start, end = opened(page)
    assert (abs(start - 5000) < 100, abs(end - 10_000) < 100) == (True, True)
    page.get_by_role("radio", name="Noise").check()
    page.get_by_role("combobox", name="Subtype").select_option("Click")
    page.get_by_role("radio", name="major").check()
    page.get_by_role("textbox", name="Comment").fill("a click")
    page.get_by_label("To second").fill("10.25")
    page.get_by_role("button", name="Done").click()
    made = [time(start, 10_250, "Noise", media=1, subtype="Click", severity="major", comment="a click")]
    drag(page, line(page, 0, 0), 0.75, 1.2)  # beyond the end
    assert opened(page)[1] == LENGTH
    first = opened(page)[0]
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    made.insert(0, time(first, LENGTH, "Too fast"))
    drag(page, line(page, -1, 0), 0.1, 0.2)
    made.insert(0, time(*opened(page), "Noise", target=-1))
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    rows = page.locator(".span-group .span-row")
    expect(rows).to_have_count(3)
    expect(page.locator('.span-group[data-target="0"]')).to_contain_text("2 spans · severity 5")
    expect(rows.last).to_contain_text("Sound 2, 0:0")
    assert "gpt" not in page.content()
    submit(page)
    assert_stored_returned_and_exported(cast, visitors.site.url, made)


def test_what_the_keyboard_marks_is_stored_returned_and_exported(visitors: Visitors, worker: Worker) -> None:
    cast = make_cast(instances=0)
    lend(cast, LEFT, on_prompt=False)
    page = open_room(visitors, cast)
    line(page, 0, 0)
    page.keyboard.press("t")
    expect(line(page, 0, 0)).to_be_focused()
    page.keyboard.press("o")
    expect(page.locator("#announce")).to_have_text("Mark the start first")
    for key in ("ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight", "i", "ArrowRight", "Shift+ArrowLeft", "o"):
        page.keyboard.press(key)
    assert opened(page) == (5200, 10_100)
    page.keyboard.press("2")
    page.get_by_label("From second").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(line(page, 0, 0)).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("i")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("o")
    page.keyboard.press("1")
    page.keyboard.press("Delete")  # and away again
    expect(page.locator(".span-row")).to_have_count(1)
    submit(page)
    assert_stored_returned_and_exported(cast, visitors.site.url, [time(5300, 10_100, "Too fast")])


def test_a_marked_time_is_played_to_its_end_jumped_to_and_dragged_at_its_edge(visitors: Visitors) -> None:
    cast = make_cast(instances=0)
    lend(cast, LEFT, [time(4000, 4400, "Noise"), time(10_000, 12_000, "Too fast")])
    page = open_room(visitors, cast)
    found = line(page, 0, 0)
    page.locator(".span-row").last.click()
    assert opened(page) == (10_000, 12_000)
    expect(found).to_have_attribute("aria-valuenow", "10.0")
    page.keyboard.press("Enter")
    page.locator(".span-row").first.click()
    page.keyboard.press("p")
    page.wait_for_function(
        """() => [...document.querySelectorAll("audio")].some((one) => one.paused && one.currentTime >= 4.4)"""
    )
    assert page.evaluate("document.querySelectorAll('.completion audio')[0].currentTime") < 5
    page.keyboard.press("Enter")
    box = found.bounding_box()
    assert box is not None
    drag(page, found, 0.6, 0.8)
    expect(page.locator(".span-popover")).to_be_hidden()
    drag(page, found, 0.7, 0.7)  # a click within opens it
    start, end = opened(page)
    assert (start, abs(end - 16_000) < 100) == (10_000, True)
    page.keyboard.press("Enter")
    submit(page)
    assert answer_of(cast)["times"] == [time(4000, 4400, "Noise"), time(10_000, end, "Too fast")]
    page.goto("/label/history/")
    expect(page.get_by_text("2 spans")).to_be_visible()


def test_times_do_not_overlap_where_the_question_forbids_it(visitors: Visitors) -> None:
    cast = make_cast(instances=0)
    lend(cast, LEFT, [time(5000, 10_000, "Noise")], allow_overlap=False)
    page = open_room(visitors, cast)
    drag(page, line(page, 0, 0), 0.4, 0.6)
    expect(page.get_by_text("This overlaps another span, and here spans may not overlap.")).to_be_visible()
    drag(page, line(page, 0, 1), 0.4, 0.6)  # another sound
    opened(page)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.locator(".span-row")).to_have_count(2)


def test_a_time_of_a_sound_that_cannot_be_played_keeps_what_is_typed(visitors: Visitors) -> None:
    cast = make_cast(instances=0)
    lend(cast, LEFT, [time(5000, 10_000, "Noise")])
    page = visitors.page(cast.annotator)
    page.route("**/media/**", lambda route: route.fulfill(body=b"RIFF", content_type="audio/wav"))
    page.goto(f"/label/{cast.task.public_id}/")
    expect(page.locator("#save-state")).to_have_text("Saved")
    page.locator(".span-row").click()
    assert opened(page) == (5000, 10_000)
    page.get_by_label("From second").fill("2.5")
    page.get_by_label("To second").fill("1")  # on the way to 12
    page.get_by_label("To second").fill("12")
    page.get_by_label("To second").press("Enter")
    submit(page)
    assert answer_of(cast)["times"] == [time(2500, 12_000, "Noise")]


def test_a_finger_marks_a_time(visitors: Visitors) -> None:
    cast = make_cast(instances=0)
    lend(cast, LEFT)
    page = open_room(visitors, cast, width=390)
    found = line(page, 0, 0)
    box = found.bounding_box()
    assert box is not None
    touch = page.context.new_cdp_session(page)
    touch.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    y = box["y"] + box["height"] / 2
    for kind, share in (("touchStart", 0.3), ("touchMove", 0.4), ("touchMove", 0.6), ("touchEnd", None)):
        points = [] if share is None else [{"x": box["x"] + share * box["width"], "y": y}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    start, end = opened(page)
    assert (abs(start - 6000) < 100, abs(end - 12_000) < 100) == (True, True)
    page.get_by_role("radio", name="Too fast").check()
    page.get_by_role("button", name="Done").click()
    submit(page)
    assert answer_of(cast)["times"] == [time(start, end, "Too fast")]


def test_a_reviewer_sees_the_times_on_the_line_and_jumps_to_them(visitors: Visitors) -> None:
    cast = make_cast(instances=0)
    lend(cast, LEFT, [time(5000, 10_000, "Noise", comment="a hiss")])
    page = open_room(visitors, cast)
    expect(page.locator(".span-row")).to_have_count(1)
    submit(page)
    looked = visitors.page(cast.owner)
    looked.goto(f"/p/{cast.project.public_id}/instances/{cast.task.instances.get().public_id}/")
    row = looked.locator("[data-span]")
    expect(row).to_contain_text("Sound 1 0:05 – 0:10")
    found = line(looked, 0, 0)
    mark = looked.locator('[data-target="0"][data-index="0"] .time-mark.span-look-1')
    expect(mark).to_have_text("Noise")
    box, whole = mark.bounding_box(), found.bounding_box()
    assert box is not None
    assert whole is not None
    assert abs((box["x"] - whole["x"]) / whole["width"] - 0.25) < 0.01
    assert abs(box["width"] / whole["width"] - 0.25) < 0.02
    row.click()
    expect(found).to_have_attribute("aria-valuenow", "5.0")


@pytest.mark.parametrize(
    ("scheme", "width", "direction"), [("light", 1440, "ltr"), ("dark", 390, "ltr"), ("light", 390, "rtl")]
)
def test_the_screen_is_accessible_and_fits(visitors: Visitors, scheme: str, width: int, direction: str) -> None:
    cast = make_cast(instances=0)
    lend(cast, LEFT, [time(5000, 10_000, "Noise"), time(5000, 5100, "Too fast", target=-1)])
    page = visitors.page(cast.annotator, width=width, scheme=scheme)
    if direction == "rtl":
        name = "django_language"
        page.context.add_cookies([{"name": name, "value": "ar", "url": visitors.site.url}])
    page.goto(f"/label/{cast.task.public_id}/")
    assert page.evaluate("document.dir || 'ltr'") == direction
    page.evaluate(AXE.read_text(encoding="utf-8"))
    everything = {"resultTypes": ["violations"]}
    found = line(page, 0, 0)
    wrong = accessibility(page, "at rest", everything)
    box = page.locator(".completion .time-mark").first.bounding_box()
    whole = found.bounding_box()
    assert box is not None
    assert whole is not None
    assert abs((box["x"] - whole["x"]) / whole["width"] - 0.25) < 0.02  # time runs from the left in every script
    drag(page, line(page, 0, 1), 0.2, 0.4)
    opened_popover = page.locator(".span-popover")
    expect(opened_popover).to_be_visible()
    wrong += accessibility(page, "popover", everything)
    assert not wrong, "\n".join(wrong)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


# a video as browsers record it: WebM, without its length
RECORDED = """async () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 48 });
  const pen = canvas.getContext("2d");
  const recorder = new MediaRecorder(canvas.captureStream(25), { mimeType: "video/webm" });
  const chunks = [];
  recorder.ondataavailable = ({ data }) => chunks.push(data);
  const ended = new Promise((done) => (recorder.onstop = done));
  recorder.start();
  for (let i = 0; i < 50; i += 1) {
    pen.fillStyle = `hsl(${i * 7} 80% 50%)`;
    pen.fillRect(0, 0, 64, 48);
    await new Promise((done) => setTimeout(done, 40));
  }
  recorder.stop();
  await ended;
  return [...new Uint8Array(await new Blob(chunks).arrayBuffer())];
}"""


def test_times_of_a_video_are_marked_on_a_plain_line(visitors: Visitors) -> None:
    from feedback.services import media

    cast = make_cast(instances=0)
    recorder = visitors.page(cast.annotator)
    recorder.goto("/label/")
    media.store_media(cast.task, [bytes(recorder.evaluate(RECORDED))], "gpt.webm", actor=cast.owner)
    lend(cast, LEFT)
    video = [{"content": [{"type": "video", "file": "gpt.webm", "alt": ""}]}, {"content": "x"}]
    cast.task.instances.update(completions=video)
    page = open_room(visitors, cast)
    found = page.locator('[data-media="video"] [data-waveform]')
    found.scroll_into_view_if_needed()
    page.wait_for_function("() => Number.isFinite(document.querySelector('video').duration)")
    length = 1000 * page.evaluate("document.querySelector('video').duration")
    drag(page, found, 0.25, 0.75)
    start, end = opened(page)
    assert (abs(start - length / 4) < 50, abs(end - length * 0.75) < 50) == (True, True)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.locator(".span-row")).to_contain_text("Video 1, 0:00.")
    submit(page)
    assert answer_of(cast)["times"] == [time(start, end, "Noise")]
