from __future__ import annotations

from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from routing.judge.asking import PAIR_ASK, Material
from routing.judge.backends import Usage
from routing.judge.config import JudgeConfig, orders_for
from routing.judge.cost import actual_cost, cache_key, token_cost, worst_case_cost
from routing.judge.prompts import draw_nonce, fill, render_messages
from tests.routing.asking import pair_prompt


def content_of(prompt: str, a: str, b: str) -> str:
    return Material(prompt, (a, b)).content()


CONFIG = JudgeConfig(name="judge", price_in=Decimal("2"), price_out=Decimal("10"), max_tokens=100)


def test_placeholders_inside_a_users_text_stay_text() -> None:
    prompt = pair_prompt(CONFIG, "Explain {second} and {{x}}.", "{nonce} {rubric}", "b", "ab", Random(0))
    user = prompt.messages[1]["content"]
    assert "Explain {second} and {{x}}." in user
    assert "{nonce} {rubric}" in user


def test_the_order_swaps_the_completions_and_nothing_else() -> None:
    ab = pair_prompt(CONFIG, "p", "AAA", "BBB", "ab", Random(5))
    ba = pair_prompt(CONFIG, "p", "BBB", "AAA", "ba", Random(5))
    assert ab == ba
    user = ab.messages[1]["content"]
    assert user.index("AAA") < user.index("BBB")


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=200), st.text(max_size=200), st.integers(0, 2**32))
def test_a_completion_cannot_contain_the_fence_that_closes_it(a: str, b: str, seed: int) -> None:
    prompt = pair_prompt(CONFIG, "p", a, b, "ab", Random(seed))
    user = prompt.messages[1]["content"]
    assert user.count(f"<<<END OF FIRST COMPLETION {prompt.nonce}>>>") == 1
    assert user.count(f"<<<END OF SECOND COMPLETION {prompt.nonce}>>>") == 1


def test_a_nonce_that_occurs_in_a_text_is_drawn_again() -> None:
    first = draw_nonce(Random(3))
    assert draw_nonce(Random(3), f"text with {first}") != first


def test_nonces_differ_between_calls() -> None:
    rng = Random(0)
    assert len({draw_nonce(rng) for _ in range(100)}) == 100


def test_a_conversation_is_shown_with_its_roles() -> None:
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Why?"},
    ]
    assert render_messages(messages) == "user: Hi\n\nassistant: Hello\n\nuser: Why?"
    assert render_messages(messages[:1]) == "Hi"
    with pytest.raises(ValueError, match="no messages"):
        render_messages([])


def test_an_unknown_placeholder_in_a_template_is_an_error() -> None:
    with pytest.raises(ValueError, match="colour"):
        fill("{colour}", {})


def test_the_schema_offers_a_tie_only_where_ties_are_allowed() -> None:
    strict = JudgeConfig(name="j", allow_ties=False)
    assert pair_prompt(CONFIG, "p", "a", "b", "ab", Random(0)).schema["properties"]["verdict"]["enum"][-1] == "tie"
    shown = pair_prompt(strict, "p", "a", "b", "ab", Random(0))
    assert shown.schema["properties"]["verdict"]["enum"] == ["first", "second"]
    assert "You must choose one." in shown.messages[1]["content"]


def test_cost_is_tokens_times_price_rounded_up() -> None:
    assert token_cost(CONFIG, 1_000, 100) == Decimal("0.003")
    assert token_cost(JudgeConfig(name="j", price_in=Decimal("0.001")), 1, 0) == Decimal("0.00000001")


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=300), st.text(max_size=300), st.integers(0, 100))
def test_no_believable_usage_costs_more_than_was_reserved(a: str, b: str, completion_tokens: int) -> None:
    sent = pair_prompt(CONFIG, "p", a, b, "ab", Random(0)).sent_bytes
    cost, measured = actual_cost(CONFIG, Usage(sent, completion_tokens), sent)
    assert measured
    assert cost <= worst_case_cost(CONFIG, sent)


def test_the_cache_key_changes_with_what_could_change_the_verdict_and_not_with_the_price() -> None:
    content = content_of("p", "a", "b")
    key = cache_key(CONFIG, PAIR_ASK, content, "ab")
    dearer = CONFIG.model_copy(update={"price_in": Decimal("9"), "deadline": 5.0, "name": "renamed"})
    assert cache_key(dearer, PAIR_ASK, content, "ab") == key
    changed = [
        cache_key(CONFIG, PAIR_ASK, content, "ba"),
        cache_key(CONFIG, PAIR_ASK, content, "ab", sample=1),
        cache_key(CONFIG, PAIR_ASK, content_of("p", "b", "a"), "ab"),
        cache_key(CONFIG.model_copy(update={"rubric": "Other."}), PAIR_ASK, content, "ab"),
        cache_key(CONFIG.model_copy(update={"model": "m2"}), PAIR_ASK, content, "ab"),
    ]
    assert len({key, *changed}) == 6


def test_instances_whose_texts_join_alike_have_different_hashes() -> None:
    assert content_of("p", "ab", "c") != content_of("p", "a", "bc")
    assert content_of("p\ud800", "a", "b") != content_of("p", "a", "b")


@pytest.mark.parametrize(
    "fields",
    [
        {"backend": "openai"},
        {"p_slightly": 0.9, "p_clearly": 0.7},
        {"backend": "openai", "base_url": "http://x", "samples": 3},
        {"tie_band": 0.6},
        {"price_in": "-1"},
        {"unknown": 1},
        {"aspects": ("",)},
    ],
)
def test_an_impossible_configuration_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        JudgeConfig.model_validate({"name": "j"} | fields)


def test_orders_follow_the_swap_setting_and_random_ones_repeat() -> None:
    assert orders_for(CONFIG, "k") == ("ab", "ba")
    assert orders_for(CONFIG.model_copy(update={"swap": "none"}), "k") == ("ab",)
    drawn = CONFIG.model_copy(update={"swap": "random"})
    orders = [orders_for(drawn, str(number)) for number in range(200)]
    assert orders == [orders_for(drawn, str(number)) for number in range(200)]
    assert 60 < orders.count(("ab",)) < 140
