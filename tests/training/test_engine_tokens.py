from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.tiny_models import make_tokenizer
from training.base_model import preference_pairs
from training.engine import tokens as tokens_module
from training.engine.errors import RunError
from training.engine.records import Group, Preference, Text
from training.engine.render import Renderer, encode_all, seam_of, seams
from training.engine.tokens import Lengths, prompt_ids, tokenise

WIDE = Lengths(512, None, "drop")
END = 1


def group(prompt: Text, chosen: Text, rejected: Text = "no", name: str = "g") -> Group:
    return Group(name, "p", "s", prompt, (chosen, rejected), (Preference(0, 1),))


def message(role: str, content: str) -> tuple[dict[str, str], ...]:
    return ({"role": role, "content": content},)


def with_bos(tokenizer: Any) -> Any:
    """A tokenizer that starts text with a beginning-of-sequence token, as Llama's do."""
    from tokenizers.processors import TemplateProcessing

    tokenizer.bos_token = "<|system|>"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|system|> $A", special_tokens=[("<|system|>", tokenizer.bos_token_id)]
    )
    return tokenizer


def test_text_is_wrapped_in_the_chat_template_and_ends_as_a_finished_turn() -> None:
    tokenizer = make_tokenizer()
    rendered = Renderer(tokenizer).render(group("Why?", message("assistant", "Because.")))
    assert rendered.prompt == "<|user|>\nWhy?<|end|>\n<|assistant|>\n"
    assert rendered.completions == ("Because.<|end|>\n", "no<|end|>\n")
    assert not rendered.boundary_moved


def test_without_a_template_the_completion_follows_its_prompt_and_ends_with_the_end_token() -> None:
    renderer = Renderer(make_tokenizer(template=False))
    assert renderer.render(group("Why?", "Because.")).prompt == "Why?\n"
    assert renderer.render(group("Why?", "Because.")).completions[0] == "Because.<|end|>"
    chat = renderer.render(group(message("user", "Why?"), message("assistant", "Because.")))
    assert (chat.prompt, chat.completions[0]) == ("User: Why?\n\nAssistant: ", "Because.<|end|>")


def test_a_template_that_leaves_the_turn_open_gets_an_end_token() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"
    assert Renderer(tokenizer).render(group("a", "b")).completions[0] == "[b]<|end|>"


def test_a_template_that_rewrites_the_answered_turn_is_reported_and_both_keep_one_prompt() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n<think>{% endif %}"
    )
    kept, report = tokenise([group("a", "b", "c")], tokenizer, WIDE)
    assert report.boundary == ["g"]
    assert tokenizer.decode(kept[0].prompt) == "<|user|>\na<|end|>\n<|assistant|>\n"


def test_a_template_that_refuses_names_the_row() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('only one turn') }}"
    with pytest.raises(RunError, match="refuses row g") as caught:
        tokenise([group("a", "b")], tokenizer, WIDE)
    assert caught.value.rows == ["g"]


@pytest.mark.parametrize("template", [True, False])
def test_prompt_and_completion_tokens_spell_the_rendered_text(template: bool) -> None:
    tokenizer = make_tokenizer(template=template)
    kept, report = tokenise([group("What is tea?", "The tea is warm.", "Well.")], tokenizer, WIDE)
    text = Renderer(tokenizer).render(group("What is tea?", "The tea is warm.", "Well."))
    for ids, part in zip(kept[0].completions, text.completions, strict=True):
        assert tokenizer.decode([*kept[0].prompt, *ids]) == text.prompt + part
        assert END in ids
    assert (report.rows, report.kept, report.dropped) == (1, 1, {})


def test_a_boundary_inside_a_token_is_reported_and_the_prompt_stays_a_prefix() -> None:
    tokenizer = make_tokenizer(template=False)
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"  # no mark between turns
    kept, report = tokenise([group("the mountain", "s are old")], tokenizer, WIDE)
    joined = tokenizer("the mountains", add_special_tokens=False)["input_ids"]
    alone = tokenizer("the mountain", add_special_tokens=False)["input_ids"]
    assert (joined[: len(alone)] != alone) == bool(report.boundary)
    assert list(kept[0].prompt) == alone


@pytest.mark.parametrize("template", [True, False])
def test_there_is_one_beginning_of_sequence_at_most(template: bool) -> None:
    tokenizer = with_bos(make_tokenizer(template=template))
    if template:
        tokenizer.chat_template = "<|system|><|system|>" + tokenizer.chat_template
    kept, _ = tokenise([group("a", "b")], tokenizer, WIDE)
    assert list(kept[0].prompt).count(tokenizer.bos_token_id) == 1
    text = Renderer(tokenizer).prompt_text("a")
    assert prompt_ids(tokenizer, text, template=template) == kept[0].prompt


def test_long_rows_are_dropped_with_the_reason_and_their_ids() -> None:
    groups = [group("why " * 50, "b", name="long"), group("why", "b", name="short")]
    kept, report = tokenise(groups, make_tokenizer(), Lengths(40, None, "drop"))
    assert [one.id for one in kept] == ["short"]
    assert report.dropped == {"longer than max_length": ["long"]}
    assert report.as_json()["dropped"] == [{"reason": "longer than max_length", "count": 1, "ids": ["long"]}]


def test_long_rows_stop_the_run_where_that_was_asked_for() -> None:
    with pytest.raises(RunError, match="1 rows are longer") as caught:
        tokenise([group("why " * 50, "b", name="long")], make_tokenizer(), Lengths(40, None, "error"))
    assert caught.value.rows == ["long"]


def test_truncation_takes_the_start_of_the_prompt_and_nothing_of_a_completion() -> None:
    tokenizer = with_bos(make_tokenizer(template=False))
    whole = tokenise([group("why " * 50, "it is", "no")], tokenizer, WIDE)[0][0]
    kept, report = tokenise([group("why " * 50, "it is", "no")], tokenizer, Lengths(30, None, "truncate-prompt-left"))
    assert report.truncated == ["g"]
    assert kept[0].completions == whole.completions
    assert kept[0].longest == 30
    assert kept[0].prompt[0] == tokenizer.bos_token_id
    assert kept[0].prompt[1:] == whole.prompt[-(len(kept[0].prompt) - 1) :]


def test_the_prompt_has_a_limit_of_its_own() -> None:
    kept, _ = tokenise([group("why " * 50, "it is")], make_tokenizer(), Lengths(512, 9, "truncate-prompt-left"))
    assert len(kept[0].prompt) == 9
    _, report = tokenise([group("why " * 50, "it is")], make_tokenizer(), Lengths(512, 9, "drop"))
    assert list(report.dropped) == ["longer than max_prompt_length"]


def test_a_completion_that_alone_is_too_long_is_never_cut() -> None:
    lengths = Lengths(30, None, "truncate-prompt-left")
    kept, report = tokenise([group("why", "because " * 60)], make_tokenizer(), lengths)
    assert kept == []
    assert list(report.dropped) == ["longer than max_length even without its prompt"]


def test_an_empty_completion_still_has_its_end_to_learn() -> None:
    kept, _ = tokenise([group("why", "", "no")], make_tokenizer(template=False), WIDE)
    assert kept[0].completions[0] == (END,)


def test_a_prompt_without_tokens_is_dropped() -> None:
    _, report = tokenise([group("", "b")], make_tokenizer(template=False), WIDE)
    assert list(report.dropped) == ["no prompt tokens"]


def test_the_report_counts_tokens_once_per_shared_prefix() -> None:
    rows = preference_pairs(5)
    groups = [group(tuple(r["prompt"]), tuple(r["chosen"]), tuple(r["rejected"]), r["id"]) for r in rows]
    kept, report = tokenise(groups, make_tokenizer(), WIDE)
    assert report.tokens == sum(one.packed_tokens for one in kept)
    assert report.unpacked_tokens - report.tokens == sum(one.shared for one in kept)
    assert len(report.rendered) == 3


def odd_tokenizers() -> list[Any]:
    """Tokenizers that treat the start of a text, blanks and letters in ways of their own."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate(["[UNK]", *"abcxyz ▁ĠÉé\n<|>(", "▁a", "ab", "bc"])}
    starts = [
        pre_tokenizers.Metaspace(prepend_scheme="first"),
        pre_tokenizers.Metaspace(prepend_scheme="always"),
        pre_tokenizers.ByteLevel(add_prefix_space=True),
    ]
    found = []
    for start in starts:
        inner = Tokenizer(models.BPE(words, [("a", "b"), ("b", "c"), ("▁", "a")], unk_token="[UNK]"))
        inner.pre_tokenizer = start  # type: ignore[assignment]
        inner.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase()])  # type: ignore[assignment]
        inner.add_special_tokens(["<|u|>", "<|a|>", AddedToken("<l>", lstrip=True), AddedToken("<r>", rstrip=True)])
        inner.add_special_tokens(["((", "(((", "xyx", AddedToken("<w>", single_word=True)])
        inner.add_tokens([AddedToken("Éc", normalized=True)])
        found.append(PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]"))
    return found


ODD = odd_tokenizers()
WORDS = ["a", "b", "c", "xyx", "x", "(", " ", "  ", "\n", "É", "Éc", "<"]
PIECES = st.sampled_from([*WORDS, "[UNK]", "<|u|>", "<|a|>", "<l>", "<r>", "<w>"])


@settings(max_examples=600)
@given(st.sampled_from(range(len(ODD))), st.lists(PIECES, max_size=12), st.lists(PIECES, max_size=6))
def test_a_text_cut_at_a_seam_has_the_tokens_of_the_whole(number: int, before: list[str], after: list[str]) -> None:
    tokenizer, prompt, part = ODD[number], "".join(before), "".join(after)
    cut = seam_of(prompt, seams(tokenizer))
    whole = encode_all(tokenizer, [prompt + part])[0]
    head, tail = encode_all(tokenizer, [prompt[:cut], prompt[cut:] + part])
    assert head + tail == whole


def test_only_tokens_that_stand_for_themselves_are_seams() -> None:
    assert set(seams(ODD[0])) == {"[UNK]", "<|u|>", "<|a|>", "<r>"}
    assert "<|assistant|>" in seams(make_tokenizer())
    split = make_tokenizer()
    split.split_special_tokens = True
    assert seams(split) == ()
    assert seam_of("no seam", seams(ODD[0])) == 0


def test_what_stands_before_the_last_seam_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = make_tokenizer()
    long = message("user", "Why? " * 200)
    whole, _ = tokenise([group(long, "Because.")], tokenizer, Lengths(4096, None, "drop"))
    monkeypatch.setattr(tokens_module, "seams", lambda _tokenizer: ())
    plain, _ = tokenise([group(long, "Because.")], tokenizer, Lengths(4096, None, "drop"))
    assert whole == plain
