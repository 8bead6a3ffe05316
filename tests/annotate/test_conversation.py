"""What a prompt may hold is shown whole: tools, passages, long chats, and every text as it is written."""

from __future__ import annotations

from typing import Any

import pytest

from annotate.views import reading
from feedback.formats.records import BadRow, ReadOptions, checked_messages
from tests.conftest import Cast


def shown(cast: Cast, browser: Any, prompt: list[dict[str, Any]], **columns: Any) -> str:
    """The work page of an instance with this prompt."""
    instance = cast.task.instances.order_by("pk").first()
    type(instance).objects.filter(pk=instance.pk).update(prompt=prompt, **columns)
    page = browser(cast.annotator).get(f"/label/{cast.task.public_id}/").content.decode()
    assert 'id="work-data"' in page
    return str(page)


def between(page: str, start: str, end: str) -> str:
    return page.split(start, 1)[1].split(end, 1)[0]


def test_tool_calls_and_what_a_tool_says_are_code(cast: Cast, browser: Any) -> None:
    prompt = [
        {"role": "user", "content": "How warm is it?"},
        {"role": "assistant", "content": "", "tool_calls": [{"name": "<b>get</b>", "arguments": '{"city": "```Ulm"}'}]},
        {"role": "tool", "name": "get_weather", "content": '{"sky": "_clear_ night"}'},
    ]
    page = shown(cast, browser, prompt)
    call = between(page, "tool-call", "</figure>")
    assert "&lt;b&gt;get&lt;/b&gt;" in call
    assert '<pre class="highlight"><code>' in call
    assert "```Ulm" in call
    said = between(page, "turn-tool", "</article>")
    assert "get_weather" in said
    assert "&#34;_clear_ night&#34;" in between(said, "<pre", "</pre>")
    assert " hidden" not in between(said, "<pre", ">")  # a tool's words are data: as written, not as markdown
    assert " hidden" in between(said, '<div class="prose"', ">")


def test_of_a_long_chat_the_last_turns_stand_open(cast: Cast, browser: Any) -> None:
    turns = [{"role": ("user", "assistant")[n % 2], "content": f"Turn {n}."} for n in range(199)]
    page = shown(cast, browser, [{"role": "system", "content": "Be kind."}, *turns])
    folded = between(page, "turns-earlier", "</details>")
    assert "Show 193 earlier turns" in folded
    assert folded.count("<article") == 193
    assert "Turn 192." in folded
    open_turns = between(page, "turns-earlier", "</section>").split("</details>", 1)[1]
    assert open_turns.count("<article") == reading.LAST_TURNS
    assert open_turns.count("Turn 198.") == 2  # rendered and raw
    assert "Be kind." in between(page, "turn-system", "</details>")


def test_a_short_chat_is_not_folded() -> None:
    rows = [reading.message_row(n, {"role": "user", "content": "x"}, {}) for n in range(reading.MAX_TURNS)]
    assert (reading.turns_of(rows)["earlier"], len(reading.turns_of(rows)["shown"])) == ([], reading.MAX_TURNS)


def test_passages_are_numbered_and_name_their_sentences(cast: Cast, browser: Any) -> None:
    passages = [
        {"title": "Ulm <i>", "sentences": ["It is a city.", "<script>x</script>"]},
        {"title": "", "text": "With *markdown*"},
        "nonsense",
    ]
    page = shown(cast, browser, [{"role": "user", "content": "Where?"}], meta={"passages": passages})
    first = between(page, 'data-passage="0"', "</details>")
    assert "Ulm &lt;i&gt;" in first
    assert '<span data-sentence="1" data-at="14">&lt;script&gt;x&lt;/script&gt;</span>' in first
    assert "<em>markdown</em>" in between(page, 'data-passage="1"', "</details>")
    assert 'data-passage="2"' in page


def test_a_source_begins_with_its_own_first_line_break_and_says_how_its_lines_end(cast: Cast, browser: Any) -> None:
    page = shown(cast, browser, [{"role": "user", "content": "\n  indented\r\nx"}])
    raw = between(page, '<pre class="raw"', "</pre>")
    assert raw.split(">", 1)[1] == "\n\n  indented\r\nx"  # the first line break is dropped by the browser
    assert "data-crlf" in raw


@pytest.mark.parametrize(
    ("calls", "stored"),
    [
        (
            [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            [{"name": "f", "arguments": "{}"}],
        ),
        ([{"name": "f", "arguments": {"x": 1}}], [{"name": "f", "arguments": '{\n  "x": 1\n}'}]),
    ],
)
def test_an_import_keeps_tool_calls(calls: Any, stored: Any) -> None:
    raw = [
        {"role": "user", "content": "x", "lang": "ar", "dir": "rtl", "other": 1},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "name": "f", "tool_call_id": "1", "content": ""},
    ]
    assert checked_messages(raw, "prompt", ReadOptions()) == [
        {"role": "user", "content": "x", "lang": "ar", "dir": "rtl"},
        {"role": "assistant", "content": "", "tool_calls": stored},
        {"role": "tool", "name": "f", "content": ""},
    ]


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ({"role": "assistant", "content": "", "tool_calls": "f"}, "prompt.0.tool_calls"),
        ({"role": "assistant", "content": "", "tool_calls": ["f"]}, "prompt.0.tool_calls.0"),
        ({"role": "assistant", "content": "", "tool_calls": [{"arguments": "{}"}]}, "prompt.0.tool_calls.0.name"),
        ({"role": "tool", "content": "", "name": 3}, "prompt.0.name"),
        ({"role": "user", "content": [{"type": "svg"}]}, "prompt.0.content.0.type"),
        ({"role": "user", "content": [{"type": "image"}]}, "prompt.0.content.0.file"),
        ({"role": "user", "content": [{"type": "text", "text": 1}]}, "prompt.0.content.0.text"),
        ({"role": "user", "content": []}, "prompt.0.content"),
        ({"role": "user", "content": [{"type": "text", "text": " "}]}, "prompt.0.content"),
        ({"role": "user", "content": [{"type": "image", "file": "a.png", "alt": "\x00"}]}, "prompt.0.content.0.alt"),
        ({"role": "user", "content": "x", "lang": ["de"]}, "prompt.0.lang"),
    ],
)
def test_a_message_that_cannot_be_kept_is_refused_with_its_path(message: Any, path: str) -> None:
    with pytest.raises(BadRow) as refused:
        checked_messages([message], "prompt", ReadOptions())
    assert refused.value.field == path


def test_text_parts_become_one_text_and_others_stay_parts() -> None:
    texts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    image = {"type": "image", "file": "a.png"}
    [plain] = checked_messages([{"role": "user", "content": texts}], "prompt", ReadOptions())
    [mixed] = checked_messages([{"role": "user", "content": [*texts, image]}], "prompt", ReadOptions())
    assert plain["content"] == "one\n\ntwo"
    assert mixed["content"] == [*texts, {**image, "alt": ""}]
