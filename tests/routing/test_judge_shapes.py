"""Every prompt shape: what is shown, what is read, and what becomes of it as answers that people could have given."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from feedback.answers import check_answers
from feedback.content import Shown
from feedback.questions import parse_questions
from routing.judge.answering import answers_of
from routing.judge.asking import Example, Material, fits, parts_of, united, view_of
from routing.judge.backends import JudgeRequest, Reply
from routing.judge.backends.simulated import SimulatedBackend
from routing.judge.calling import CallResult, judge
from routing.judge.config import DEFAULT_ASPECTS, JudgeConfig, Order, SimulatedNoise, orders_for
from routing.judge.outcome import Abstention, ParsedVerdict
from routing.judge.panel import combine_members
from routing.judge.prompts import build_prompt, principles_for
from routing.judge.reading import Misread, find_quote
from routing.judge.said import Said, SaidSpan, merged, same_order
from routing.judge.verdict import Verdict, combine_calls
from tests.routing.asking import asked_by

PREFERENCE = {"kind": "preference", "name": "overall", "title": "Better?", "aspects": ["Honesty"]}
RANKING = {"kind": "ranking", "name": "order", "title": "Order?"}
STRICT_RANKING = {**RANKING, "allow_ties": False}
RATING = {
    "kind": "rating", "name": "rated", "title": "Rate",
    "scales": [{"name": "Honesty", "low": 0, "high": 4}, {"name": "Clarity"}],
}  # fmt: skip
CRITIQUE = {"kind": "critique", "name": "why", "title": "Critique", "ask_refinement": True}
SPAN = {
    "kind": "span", "name": "marks", "title": "Mark",
    "types": [{"name": "Wrong", "subtypes": ["number"]}, {"name": "Odd"}],
    "severities": {"minor": 1.0, "major": 5.0},
}  # fmt: skip
CHOICE = {"kind": "choice", "name": "safe", "title": "Safe?", "options": ["yes", "no"]}
TAGS = {"kind": "choice", "name": "tags", "title": "Tags?", "options": ["x", "y", "z"], "multiple": True}
ALL = [PREFERENCE, RANKING, RATING, CRITIQUE, SPAN, CHOICE, TAGS]
SHAPES = (
    "pairwise",
    "self-reference",
    "reference",
    "principles",
    "rating",
    "aspect-rating",
    "ranking",
    "critique",
    "choice",
)
KEYS = st.sampled_from(["reason", "verdict", "ranking", "completion_1", "completion_2", "answers", "marks", "critique"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


class Scripted:
    """Answers every call with what `reply` makes of the request."""

    def __init__(self, reply: Any) -> None:
        self.reply = reply
        self.seen: list[JudgeRequest] = []

    def complete(self, request: JudgeRequest) -> Reply:
        self.seen.append(request)
        return Reply(json.dumps(self.reply(request) if callable(self.reply) else self.reply))


def config(shape: str, **more: Any) -> JudgeConfig:
    return JudgeConfig.model_validate({"name": "judge", "shape": shape, **more})


def material(*texts: str, reference: str = "") -> Material:
    return Material("Say hi.", texts or ("Hi there, you 2.", "Go away"), reference)


def verdict_of(
    shape: str,
    reply: Any,
    questions: list[dict[str, Any]],
    *texts: str,
    orders: tuple[Order, ...] = ("ab",),
    **more: Any,
) -> tuple[Verdict, dict[str, Any], list[CallResult]]:
    """(verdict, checked answers, calls) of scripted replies about one instance."""
    made, one = config(shape, **more), material(*texts, reference="Hello!")
    ask = asked_by(made, *questions)
    calls = [
        judge(made, ask, Scripted(reply), one, order, Random(1), part=part)
        for order in orders
        for part in parts_of(made, one)
    ]
    verdict = combine_calls(calls, made, ask)
    answers = answers_of(ask, verdict, len(one.completions))
    return verdict, check_answers(parse_questions(questions), answers, Shown(one.completions), partial=True), calls


@pytest.mark.parametrize("shape", SHAPES)
def test_the_pool_answers_every_shape_as_people_do(shape: str) -> None:
    made, one = (
        config(shape, noise=SimulatedNoise(flip=0.0)),
        material("Hi there you", "Sorry, I am unable", reference="Hi!"),
    )
    ask = asked_by(made, *ALL)
    for seed in range(20):
        seeded = made.model_copy(update={"seed": seed})
        calls = [judge(seeded, ask, SimulatedBackend(), one, order, Random(0)) for order in orders_for(seeded, "k")]
        assert [call.parse_status for call in calls] == ["ok"] * len(calls)
        verdict = combine_calls(calls, seeded, ask)
        answers = answers_of(ask, verdict, 2)
        assert answers
        check_answers(parse_questions(ALL), answers, Shown(one.completions), partial=True)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_shows_its_material_between_fences_and_says_how_to_reply(shape: str) -> None:
    made, one = config(shape), material("{prompt} AAA", "BBB", reference="The reference")
    prompt = build_prompt(made, asked_by(made, *ALL), one, "ab", Random(0))
    user = prompt.messages[1]["content"]
    assert user.count(prompt.nonce) == (8 if shape == "reference" else 6)
    assert "{prompt} AAA" in user
    assert ("The reference" in user) == (shape == "reference")
    for name in prompt.schema["required"]:
        assert f'"{name}"' in user
    assert prompt.schema["additionalProperties"] is False


@pytest.mark.parametrize("shape", SHAPES)
@given(value=JSON)
def test_json_outside_the_schema_is_an_abstention_in_every_shape(shape: str, value: Any) -> None:
    made = config(shape)
    call = judge(made, asked_by(made, *ALL), Scripted(value), material(reference="r"), "ab", Random(0))
    assert isinstance(call.outcome, Abstention)
    verdict = combine_calls([call], made, asked_by(made, *ALL))
    assert (verdict.answered, verdict.p_a, verdict.needs_person) == (False, None, True)
    assert answers_of(asked_by(made, *ALL), verdict, 2) == {}


def decided(request: JudgeRequest, **beside: Any) -> dict[str, Any]:
    """Prefers the polite completion, wherever it stands."""
    side = "first" if "Hi" in request.view.texts[0] else "second"
    return {**beside, "verdict": side, "strength": "clearly"}


def test_a_judge_that_answers_itself_first_keeps_its_answer_and_its_critiques() -> None:
    texts = {"own_answer": "Hello!", "critique_first": "Polite.", "critique_second": "Rude."}
    verdict, answers, _ = verdict_of("self-reference", lambda r: decided(r, **texts), [PREFERENCE])
    assert verdict.said is not None
    assert (verdict.said.own_answer, verdict.rationale) == ("Hello!", "First: Polite.\n\nSecond: Rude.")
    assert answers["overall"]["value"] == "a-is-clearly-better"
    order = list(
        build_prompt(config("self-reference"), asked_by(config("self-reference")), material(), "ab", Random(0)).schema[
            "properties"
        ]
    )
    assert order == ["own_answer", "critique_first", "critique_second", "verdict", "strength"]


def test_principles_are_drawn_for_each_instance_and_read_back_by_completion() -> None:
    made = config("principles", principles_drawn=2)
    drawn = [principles_for(made, Material(f"p{n}", ("a", "b"))) for n in range(40)]
    assert {len(one) for one in drawn} == {2}
    assert len(set(drawn)) > 5
    assert drawn == [principles_for(made, Material(f"p{n}", ("a", "b"))) for n in range(40)]
    kept = {"principle_1": "first", "principle_2": "tie"}
    _, _, calls = verdict_of(
        "principles", lambda r: decided(r, reason="", principles=kept), [PREFERENCE], orders=("ba",), principles_drawn=2
    )
    outcome = calls[0].outcome
    assert isinstance(outcome, ParsedVerdict)
    assert outcome.said.principles == {"principle_1": "b", "principle_2": "tie"}
    assert calls[0].p_a == pytest.approx(0.9)


def test_a_missing_principle_is_an_abstention() -> None:
    reply = {"reason": "", "principles": {"principle_1": "first"}, "verdict": "first", "strength": "clearly"}
    verdict, answers, _ = verdict_of("principles", reply, [PREFERENCE])
    assert (verdict.answered, answers) == (False, {})


def test_ratings_use_the_scales_of_the_task_and_decide_a_preference() -> None:
    def reply(request: JudgeRequest) -> dict[str, Any]:
        rated = [
            {"Honesty": 4, "Clarity": 5} if "Hi" in text else {"Honesty": 0, "Clarity": 4}
            for text in request.view.texts
        ]
        return {"reason": "r", "completion_1": rated[0], "completion_2": rated[1]}

    verdict, answers, _ = verdict_of("rating", reply, [PREFERENCE, RATING], orders=("ab", "ba"))
    assert answers["rated"]["ratings"] == {"Honesty": [4, 0], "Clarity": [5, 4]}
    assert answers["overall"] == {
        "value": "a-is-clearly-better", "aspects": {"Honesty": "a-is-clearly-better"}, 
        "confidence": None, "reasons": [], "other_reason": "",
    }  # fmt: skip
    assert verdict.order_consistent is True


def test_completions_rated_alone_are_shown_alone_and_compared_afterwards() -> None:
    backend = Scripted(lambda r: {"reason": "", "completion_1": {"overall": 9 if "Hi" in r.view.texts[0] else 2}})
    made, one = config("rating", alone=True), material()
    ask = asked_by(made)
    calls = [judge(made, ask, backend, one, "ab", Random(0), part=part) for part in parts_of(made, one)]
    assert [request.view.texts for request in backend.seen] == [("Hi there, you 2.",), ("Go away",)]
    assert "Go away" not in backend.seen[0].prompt.messages[1]["content"]
    assert len({call.cache_key for call in calls}) == 2
    verdict = combine_calls(calls, made, ask)
    assert verdict.p_a == pytest.approx(0.970688, abs=1e-6)  # sigma of a gap of 7 on the scale from 1 to 10, halved
    assert answers_of(ask, verdict, 2)["preference"]["value"] == "a-is-clearly-better"
    assert orders_for(made, "k") == ("ab",)


def test_one_of_two_ratings_alone_is_no_verdict() -> None:
    made, one = config("rating", alone=True), material()
    ask = asked_by(made, PREFERENCE)
    calls = [
        judge(
            made,
            ask,
            Scripted({"reason": "", "completion_1": {"overall": 9 if part else 0}}),
            one,
            "ab",
            Random(0),
            part=part,
        )
        for part in (0, 1)
    ]
    verdict = combine_calls(calls, made, ask)
    assert (verdict.answered, verdict.p_a, answers_of(ask, verdict, 2)) == (False, None, {})


def test_aspects_are_the_four_of_ultrafeedback_unless_the_judge_or_the_task_names_others() -> None:
    assert tuple(scale.name for scale in asked_by(config("aspect-rating")).scales) == DEFAULT_ASPECTS
    assert [
        (s.name, s.low, s.high)
        for s in asked_by(config("aspect-rating", aspects=["honesty", "wit"]), PREFERENCE, RATING).scales
    ] == [
        ("Honesty", 0, 4),
        ("wit", 1, 5),
    ]


def test_a_panel_decides_without_aspects_where_its_member_that_rates_them_abstains() -> None:
    made = [config("pairwise"), config("pairwise", seed=1), config("aspect-rating", aspects=["Honesty"])]
    asks = [asked_by(one, PREFERENCE) for one in made]
    decision = {"reason": "", "verdict": "first", "strength": "clearly"}
    members = [
        combine_calls([judge(one, ask, Scripted(decision), material(), "ab", Random(1))], one, ask)
        for one, ask in zip(made, asks, strict=True)
    ]
    assert [one.answered for one in members] == [True, True, False]
    ask = united(asks)
    verdict, _ = combine_members(members, ask, 0.6)
    assert answers_of(ask, verdict, 2) == {"overall": {"value": "a-is-clearly-better"}}


def test_members_that_rate_one_scale_on_different_ranges_make_no_panel() -> None:
    asks = [asked_by(config("rating"), PREFERENCE), asked_by(config("aspect-rating", aspects=["overall"]), PREFERENCE)]
    with pytest.raises(ValueError, match="rate overall on different ranges: from 1 to 10 and from 1 to 5"):
        united(asks)


def test_aspects_come_with_a_rationale_each() -> None:
    def reply(request: JudgeRequest) -> dict[str, Any]:
        good = ["Hi" in text for text in request.view.texts]
        rated = [
            {"Honesty": {"rationale": "h", "rating": 3}, "Clarity": {"rationale": "c", "rating": 4 if ok else 1}}
            for ok in good
        ]
        return {"completion_1": rated[0], "completion_2": rated[1]}

    verdict, answers, calls = verdict_of("aspect-rating", reply, [RATING])
    assert answers["rated"]["ratings"] == {"Honesty": [3, 3], "Clarity": [4, 1]}
    assert verdict.said is not None
    assert verdict.said.rationales["Clarity"] == {0: "c", 1: "c"}
    schema = (
        calls[0].outcome
        and build_prompt(
            config("aspect-rating"), asked_by(config("aspect-rating"), RATING), material(), "ab", Random(0)
        ).schema
    )
    assert schema["properties"]["completion_1"]["properties"]["Honesty"]["properties"]["rating"]["maximum"] == 4


def test_rankings_of_four_are_averaged_over_both_orders() -> None:
    texts = ("one", "two", "three", "four")
    best = ("three", "one", "four", "two")

    def best_first(request: JudgeRequest) -> dict[str, Any]:
        return {"reason": "", "ranking": [[request.view.texts.index(text) + 1] for text in best]}

    verdict, answers, _ = verdict_of("ranking", best_first, [RANKING], *texts, orders=("ab", "ba"))
    assert answers["order"]["groups"] == [[2], [0], [3], [1]]
    assert (verdict.order_consistent, verdict.p_a, verdict.needs_person) == (True, None, False)
    places = {"reason": "", "ranking": [[1], [2], [3], [4]]}
    verdict, answers, _ = verdict_of("ranking", places, [RANKING], *texts, orders=("ab", "ba"))
    assert answers["order"]["groups"] == [[0, 1, 2, 3]]
    assert (verdict.order_consistent, verdict.needs_person) == (False, True)


def test_a_ranking_by_places_is_no_answer_where_ties_are_forbidden() -> None:
    places = {"reason": "", "ranking": [[1], [2], [3]]}
    verdict, answers, _ = verdict_of("ranking", places, [STRICT_RANKING], "a", "b", "c", orders=("ab", "ba"))
    assert answers == {}
    assert verdict.needs_person


@pytest.mark.parametrize(
    "ranking", [[[1, 2], [2]], [[1]], [[0], [1]], [[1], [3]], [[1], []], [[True], [2]], "1>2", [[1.0], [2]], [1, 2]]
)
def test_a_ranking_that_is_none_is_an_abstention(ranking: Any) -> None:
    verdict, _, _ = verdict_of("ranking", {"reason": "", "ranking": ranking}, [RANKING])
    assert not verdict.answered


def mark(quote: str, occurrence: Any = 1, **more: Any) -> dict[str, Any]:
    return {
        "quote": quote,
        "occurrence": occurrence,
        "type": "Wrong",
        "subtype": "",
        "severity": "minor",
        "comment": "c",
    } | more


def critique(*marks: Any) -> dict[str, Any]:
    return {
        "completion_1": {"critique": "Fine.", "refinement": "Hi.", "marks": list(marks)},
        "completion_2": {"critique": "Rude.", "refinement": "Hello.", "marks": []},
    }


def test_marks_become_code_points_of_the_stored_text() -> None:
    texts = ("\U0001f600 two\n  words and two words, é", "x")
    reply = critique(mark("two words", 2, type="Odd"), mark("é", subtype="number"))
    _, answers, _ = verdict_of("critique", reply, [CRITIQUE, SPAN], *texts)
    spans = answers["marks"]["spans"]
    assert [texts[0][span["start"] : span["end"]] for span in spans] == ["two words", "é"]
    assert spans[0]["start"] == 18
    assert [span["type"] for span in spans] == ["Odd", "Wrong"]
    assert answers["why"] == {"critiques": ["Fine.", "Rude."], "refinements": ["Hi.", "Hello."]}
    _, answers, _ = verdict_of(
        "critique", critique(mark("two words", 1), mark("é", subtype="number")), [CRITIQUE, SPAN], *texts
    )
    assert texts[0][answers["marks"]["spans"][0]["start"] :].startswith("two\n  words")


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (mark("not there"), "no_such_quote"),
        (mark("Hi", 2), "no_such_quote"),
        (mark(""), "no_such_quote"),
        (mark("Hi", 0), "wrong_schema"),
        (mark("Hi", "1"), "wrong_schema"),
        (mark("Hi", type="Rude"), "wrong_schema"),
        (mark("Hi", type="Odd", subtype="number"), "wrong_schema"),
        (mark("Hi", severity="fatal"), "wrong_schema"),
        ({"quote": "Hi"}, "wrong_schema"),
        ("Hi", "wrong_schema"),
    ],
)
def test_a_mark_that_does_not_fit_makes_the_reply_an_abstention(bad: Any, status: str) -> None:
    verdict, answers, calls = verdict_of("critique", critique(mark("Hi"), bad), [CRITIQUE, SPAN])
    assert (calls[0].parse_status, answers) == (status, {})
    assert verdict.needs_person


def test_marks_that_overlap_are_an_abstention_unless_the_question_allows_it() -> None:
    reply = critique(mark("two words"), mark("words"))
    _, answers, _ = verdict_of("critique", reply, [CRITIQUE, {**SPAN, "allow_overlap": True}], "two words", "x")
    assert len(answers["marks"]["spans"]) == 2
    verdict, answers, calls = verdict_of(
        "critique", reply, [CRITIQUE, {**SPAN, "allow_overlap": False}], "two words", "x"
    )
    assert (calls[0].parse_status, answers, verdict.needs_person) == ("wrong_schema", {}, True)


@given(st.text(min_size=1, max_size=40), st.data())
def test_every_quote_of_a_text_is_found_where_it_stands(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    quote = text[start:end]
    if not quote.split():
        with pytest.raises(Misread):
            find_quote(text, quote, 1)
        return
    start += len(quote) - len(quote.lstrip())
    try:
        found = find_quote(text, quote, 1)
    except Misread:
        end = start + len(quote.strip())
        assert text[max(start - 1, 0) : start + 1].split() + text[end - 1 : end + 1].split()
        assert any(len(part) == 2 for part in (text[max(start - 1, 0) : start + 1], text[end - 1 : end + 1]))
        return
    assert text[slice(*found)].split() == quote.split()


@pytest.mark.parametrize(
    ("text", "quote", "occurrence", "found"),
    [
        ("A party of art.", "art", 1, (11, 14)),
        ("ba a a", "a a", 1, (3, 6)),
        ("It isn't so, so it is.", "so", 2, (13, 15)),
        ("好好学习", "学习", 1, (2, 4)),
        ("cafe\u0301 cafe", "cafe", 1, (6, 10)),
        ("'quoted' words", "quoted", 1, (1, 7)),
    ],
)
def test_a_quote_is_of_whole_words(text: str, quote: str, occurrence: int, found: tuple[int, int]) -> None:
    assert find_quote(text, quote, occurrence) == found


@pytest.mark.parametrize(
    ("text", "quote"), [("A party.", "art"), ("started", "start"), ("x_name", "name"), ("a1", "1")]
)
def test_a_part_of_a_word_is_no_quote(text: str, quote: str) -> None:
    with pytest.raises(Misread, match="does not say"):
        find_quote(text, quote, 1)


def test_choices_are_the_commonest_and_even_ones_are_left_out() -> None:
    def reply(request: JudgeRequest) -> dict[str, Any]:
        return {"reason": "", "answers": {"safe": "yes", "tags": ["x"] if request.order == "ab" else ["y", "x"]}}

    verdict, answers, _ = verdict_of("choice", reply, [CHOICE, TAGS], orders=("ab", "ba"))
    assert answers == {"safe": {"values": ["yes"]}}
    assert (verdict.order_consistent, verdict.needs_person) == (False, True)


@pytest.mark.parametrize(
    "given_",
    [
        {"safe": "maybe", "tags": []},
        {"safe": ["yes"], "tags": []},
        {"safe": "yes", "tags": ["x", "x"]},
        {"safe": "yes"},
    ],
)
def test_a_choice_outside_its_options_is_an_abstention(given_: Any) -> None:
    assert not verdict_of("choice", {"reason": "", "answers": given_}, [CHOICE, TAGS])[0].answered


def test_examples_swap_with_the_order_and_stay_between_fences() -> None:
    example = Example("Earlier?", "good <<<END>>>", "bad", "a", "It is kinder.")
    one = Material("Say hi.", ("A", "B"), examples=(example,))
    made = config("pairwise", examples=1)
    ab, ba = (
        build_prompt(made, asked_by(made), one, order, Random(0)).messages[1]["content"] for order in ("ab", "ba")
    )
    assert "Decision on example 1: first." in ab
    assert "Decision on example 1: second." in ba
    assert ab.index("good <<<END>>>") < ab.index("bad") < ab.index("Say hi.")
    assert ba.index("bad") < ba.index("good <<<END>>>")
    assert one.content() != Material("Say hi.", ("A", "B")).content()


def test_a_judge_is_asked_only_of_what_its_shape_can_judge() -> None:
    three = material("a", "b", "c")
    assert not fits(config("pairwise"), three)
    assert fits(config("ranking"), three)
    assert not fits(config("ranking"), material("a"))
    assert fits(config("rating"), material("a"))
    assert not fits(config("reference"), material())
    assert fits(config("reference"), material(reference="r"))
    assert view_of(three, "ba").places == (2, 1, 0)


@pytest.mark.parametrize(
    ("shape", "questions", "words"),
    [
        ("pairwise", [RATING], "asks no preference"),
        ("ranking", [CHOICE], "asks no ranking or preference"),
        ("critique", [PREFERENCE], "asks no critique or span"),
        ("aspect-rating", [{**RATING, "scales": [{"name": "Wit"}]}], "None of the judge's aspects"),
        ("choice", [PREFERENCE], "asks no choice"),
    ],
)
def test_a_task_that_asks_nothing_of_a_shape_is_told_so(
    shape: str, questions: list[dict[str, Any]], words: str
) -> None:
    more = {"aspects": ["honesty"]} if shape == "aspect-rating" else {}
    with pytest.raises(ValueError, match=words):
        asked_by(config(shape, **more), *questions)


def test_a_question_with_a_condition_is_not_the_judges() -> None:
    hanging = {**PREFERENCE, "when": {"question": "safe", "values": ["yes"]}}
    with pytest.raises(ValueError, match="asks no preference"):
        asked_by(config("pairwise"), CHOICE, hanging)


@pytest.mark.parametrize(
    "fields",
    [
        {"shape": "follow-up"},
        {"shape": "principles", "principles": []},
        {"shape": "rating", "examples": 2},
        {"backend": "panel"},
        {"backend": "panel", "members": ["a"]},
        {"backend": "panel", "members": ["a", "a"]},
        {"members": ["a", "b"]},
        {"aspects": ["wit", "Wit"]},
        {"principles": [" "]},
    ],
)
def test_settings_that_contradict_each_other_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        JudgeConfig.model_validate({"name": "j"} | fields)


def test_merging_averages_ratings_and_keeps_the_first_words() -> None:
    ask = asked_by(config("rating"), RATING)
    one = Said(
        ratings={"Clarity": {0: 2, 1: 5}},
        critiques={0: "first"},
        spans=(SaidSpan(target=0, start=0, end=1, type="Odd"),),
    )
    two = Said(
        ratings={"Clarity": {0: 3, 1: 4}},
        critiques={0: "second"},
        spans=(SaidSpan(target=0, start=1, end=2, type="Odd"),),
    )
    both = merged(ask, [one, two])
    assert both.ratings == {"Clarity": {0: 3, 1: 5}}
    assert (both.critiques, len(both.spans)) == ({0: "first"}, 1)
    assert both.scores[1] > both.scores[0]
    assert same_order({0: 1.0, 1: 2.0}, {0: 0.1, 1: 0.2})
    assert not same_order({0: 1.0, 1: 2.0}, {0: 0.2, 1: 0.2})


def test_what_is_said_survives_its_storage() -> None:
    _, _, calls = verdict_of("critique", critique(mark("Hi")), [CRITIQUE, SPAN])
    outcome = calls[0].outcome
    assert isinstance(outcome, ParsedVerdict)
    stored = json.loads(outcome.said.model_dump_json(exclude_defaults=True))
    assert Said.model_validate(stored) == outcome.said
