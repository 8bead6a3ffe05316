"""Column mapping, its suggestion, and the chosen/rejected and prompt–completions shapes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from feedback.answers import check_answers
from feedback.content import Shown
from feedback.formats.dialogue import parse_dialogue, render_dialogue
from feedback.formats.generic import instance_of, read_generic
from feedback.formats.mapping import ColumnMapping, preview, suggest_mapping
from feedback.formats.records import BadRow, ImportedInstance, ReadOptions, RowError
from feedback.formats.sources import SOURCES, detect_source, mapped_source
from feedback.questions import parse_questions


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(
    path: Path, mapping: ColumnMapping | None = None, **options: Any
) -> tuple[list[ImportedInstance], list[RowError]]:
    records = list(read_generic(path, mapping, ReadOptions(**options)))
    return [r for r in records if isinstance(r, ImportedInstance)], [r for r in records if isinstance(r, RowError)]


def chosen_text(instance: ImportedInstance) -> str | None:
    value = instance.annotations[0].answers["overall"]["value"]
    return instance.completions[0 if value.startswith("a-") else 1]["content"]


HH = [
    {
        "chosen": f"\n\nHuman: Hi {n}\n\nAssistant: Hello\n\nHuman: Joke?\n\nAssistant: Good {n}",
        "rejected": f"\n\nHuman: Hi {n}\n\nAssistant: Hello\n\nHuman: Joke?\n\nAssistant: No {n}",
    }
    for n in range(40)
]


def test_hh_dialogues_become_prompt_and_two_completions(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", HH)
    source = detect_source(path)
    assert source is SOURCES["hh"]
    records = list(source.read(path, ReadOptions()))
    first = records[0]
    assert isinstance(first, ImportedInstance)
    assert first.prompt == [
        {"role": "user", "content": "Hi 0"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Joke?"},
    ]
    instances = [r for r in records if isinstance(r, ImportedInstance)]
    assert len(instances) == 40
    assert all((chosen_text(instance) or "").startswith("Good") for instance in instances)
    questions = parse_questions(source.questions(ReadOptions()))
    for instance in instances:
        texts = [completion["content"] or "" for completion in instance.completions]
        answers = instance.annotations[0].answers
        assert check_answers(questions, answers, Shown(texts)) == answers


def test_the_stored_position_does_not_tell_which_was_chosen(tmp_path: Path) -> None:
    instances, _ = read(jsonl(tmp_path / "x.jsonl", HH))
    firsts = sum(i.annotations[0].answers["overall"]["value"].startswith("a-") for i in instances)
    assert 8 < firsts < 32
    swapped = [{"chosen": row["rejected"], "rejected": row["chosen"]} for row in HH]
    again, _ = read(jsonl(tmp_path / "y.jsonl", swapped))
    assert [i.completions for i in again] == [i.completions for i in instances]


@pytest.mark.parametrize(("steps", "value"), [(3, "is-better"), (5, "is-clearly-better"), (9, "is-clearly-better")])
def test_a_vote_without_strength_is_clear(tmp_path: Path, steps: int, value: str) -> None:
    instances, _ = read(jsonl(tmp_path / "x.jsonl", HH[:1]), steps=steps)
    assert instances[0].annotations[0].answers["overall"]["value"].endswith(value)


@pytest.mark.parametrize(
    ("chosen", "rejected", "field", "reason"),
    [
        ("\n\nHuman: a\n\nAssistant: b", "\n\nHuman: x\n\nAssistant: c", "rejected", "parts from the chosen"),
        ("\n\nHuman: a\n\nAssistant: b", "\n\nHuman: a\n\nAssistant: b", "rejected", "equals the chosen"),
        ("\n\nHuman: a\n\nAssistant: b", "\n\nHuman: a\n\nAssistant:", "rejected", "must end with"),
        ("\n\nHuman: a\n\nAssistant: b", "\n\nHuman: a\n\nAssistant: c\n\nHuman: d", "rejected", "must end with"),
    ],
)
def test_a_pair_that_is_no_pair_is_refused(tmp_path: Path, chosen: str, rejected: str, field: str, reason: str) -> None:
    mapping = ColumnMapping(chosen="chosen", rejected="rejected")
    rows = [*HH[:1], {"chosen": chosen, "rejected": rejected}]
    instances, errors = read(jsonl(tmp_path / "x.jsonl", rows), mapping)
    assert len(instances) == 1
    assert (errors[0].line, errors[0].field) == (2, field)
    assert reason in errors[0].reason


def test_dialogues_round_trip() -> None:
    text = "\n\nHuman: a\nb\n\nAssistant: c\n\nHuman: d\n\nAssistant:"
    messages = parse_dialogue(text)
    assert [m["role"] for m in messages] == ["user", "assistant", "user", "assistant"]
    assert render_dialogue(messages[:-1]) == text
    assert parse_dialogue("\n\nHuman: a\n\nHuman: b") == [{"role": "user", "content": "a\n\nb"}]
    with pytest.raises(BadRow, match="must start with"):
        parse_dialogue("Hello\n\nHuman: a")


def test_trl_preference_rows_standard_and_conversational(tmp_path: Path) -> None:
    standard = [{"prompt": "Q", "chosen": "good", "rejected": "bad", "category": "x"}]
    path = jsonl(tmp_path / "s.jsonl", standard)
    assert detect_source(path) is SOURCES["preference"]
    instances, errors = read(path)
    assert errors == []
    assert (instances[0].prompt, instances[0].meta) == ([{"role": "user", "content": "Q"}], {"category": "x"})
    assert chosen_text(instances[0]) == "good"
    prompt = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
    replies = {key: [{"role": "assistant", "content": text}] for key, text in (("chosen", "good"), ("rejected", "bad"))}
    explicit, _ = read(jsonl(tmp_path / "c.jsonl", [{"prompt": prompt, **replies}]))
    assert (explicit[0].prompt, chosen_text(explicit[0])) == (prompt, "good")
    whole = {key: [*prompt, *reply] for key, reply in replies.items()}
    implicit, _ = read(jsonl(tmp_path / "i.jsonl", [whole]))
    assert (implicit[0].prompt, chosen_text(implicit[0])) == (prompt, "good")


def test_prompt_with_completions_in_every_form(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": 7, "prompt": "Q", "completions": ["a", "b", "c"], "tags": ["x"]},
        {"id": 8, "prompt": "Q", "completions": [{"content": "a", "model": "m"}, {"text": "b"}], "tags": []},
        {"id": 9, "prompt": "Q", "completions": [[{"role": "assistant", "content": "a"}]], "tags": []},
    ]
    path = jsonl(tmp_path / "x.jsonl", rows)
    assert detect_source(path) is SOURCES["completions"]
    instances, errors = read(path)
    assert errors == []
    assert [i.external_id for i in instances] == ["7", "8", "9"]
    assert instances[0].meta == {"tags": ["x"]}
    assert instances[1].completions == [{"content": "a", "model": "m"}, {"content": "b", "model": None}]
    assert instances[0].annotations == []


def test_a_mapped_csv_with_votes(tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_text(
        "key,q,left,right,m1,m2,vote,who,topic\n"
        "k1,Q1,a,b,x,y,L,ann,t\n"
        "k2,Q2,a,b,x,y,R,,t\n"
        "k3,Q3,a,b,x,y,?,ann,t\n"
        "k1,Q4,a,b,x,y,=,ann,t\n"
        "k5,Q5,a, ,x,y,=,ann,t\n"
    )
    mapping = ColumnMapping(
        prompt="q",
        completions=("left", "right"),
        models=("m1", "m2"),
        external_id="key",
        preference="vote",
        values={"L": "a", "R": "b", "=": "tie"},
        annotator="who",
        meta=("topic",),
    )
    instances, errors = read(path, mapping)
    votes = [(i.annotations[0].annotator, i.annotations[0].answers["overall"]["value"]) for i in instances]
    assert votes == [("ann", "a-is-clearly-better"), ("imported", "b-is-clearly-better")]
    assert instances[0].completions == [{"content": "a", "model": "x"}, {"content": "b", "model": "y"}]
    assert [(e.line, e.field) for e in errors] == [(4, "vote"), (5, "external_id"), (6, "right")]
    assert errors[0].reason == "'?' is not a known preference"
    assert errors[1].reason == "'k1' on line 5 was already on line 2"
    assert errors[2].reason == "is empty"
    questions = mapped_source(mapping).questions(ReadOptions())
    assert questions[0]["allow_both_bad"] is True
    assert parse_questions(questions)


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        ({"prompt": "", "completions": ["a"]}, "prompt", "is empty"),
        ({"prompt": 3, "completions": ["a"]}, "prompt", "must be text, not int"),
        ({"prompt": "Q", "completions": []}, "completions", "has 0 completions"),
        ({"prompt": "Q", "completions": ["a"] * 13}, "completions", "has 13 completions"),
        ({"prompt": "Q", "completions": ["a", " \n"]}, "completions.1", "is empty"),
        ({"prompt": "Q", "completions": ["a", "x" * 100_001]}, "completions.1", "has 100,001 characters"),
        ({"prompt": "Q", "completion": "a"}, "completions", "has no such column"),
        ({"prompt": [{"role": "boss", "content": "Q"}], "completions": ["a"]}, "prompt.0.role", "is not one of"),
        ({"prompt": [{"role": "user"}], "completions": ["a"]}, "prompt.0.content", "must be text"),
        ({"prompt": [{"role": "assistant", "content": "Q"}], "completions": ["a"]}, "prompt", "ends with an assistant"),
        ({"prompt": [], "completions": ["a"]}, "prompt", "must be a list of messages"),
        ({"prompt": "Q", "completions": [[{"role": "user", "content": "a"}]]}, "completions.0", "one assistant"),
        ({"prompt": "Q", "completions": ["a"], "blob": "x" * 300_000}, "meta", "the limit is"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: dict[str, Any], field: str, reason: str) -> None:
    mapping = ColumnMapping(prompt="prompt", completions=("completions",), meta=("blob",))
    instances, errors = read(jsonl(tmp_path / "x.jsonl", [row]), mapping)
    assert instances == []
    assert (errors[0].line, errors[0].field) == (1, field)
    assert reason in errors[0].reason


def test_text_that_cannot_be_stored_is_refused_from_csv_too(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"prompt,response_a,response_b\nQ,a\x07,b\n")
    _, errors = read(path)
    assert errors[0].reason == "holds a control character U+0007 at character 1"


def test_mapping_is_checked() -> None:
    for bad in ({"prompt": "p"}, {"chosen": "c"}, {"completions": ["c"]}, {"prompt": "p", "completions": [], "x": 1}):
        with pytest.raises(ValidationError):
            ColumnMapping.model_validate(bad)


def test_suggestions_and_preview(tmp_path: Path) -> None:
    rows = [
        {"Question": "Q", "Answer_A": "a", "Answer_B": "b", "winner": "tie", "judge": "j", "model_a": 1, "model_b": 2}
    ]
    columns, found, errors = preview(jsonl(tmp_path / "x.jsonl", rows))
    assert (found, errors) == (rows, [])
    assert suggest_mapping(columns, found) == ColumnMapping(
        prompt="Question",
        completions=("Answer_A", "Answer_B"),
        preference="winner",
        annotator="judge",
        models=("model_a", "model_b"),
    )
    assert suggest_mapping(["x"], [{"x": 1}]) is None
    assert detect_source(jsonl(tmp_path / "y.jsonl", [{"x": 1}])) is None
    _, errors = read(tmp_path / "y.jsonl")
    assert errors[0].reason == "no prompt and completions recognised in the columns: x"


def test_the_name_of_the_source_can_be_given(tmp_path: Path) -> None:
    instances, _ = read(jsonl(tmp_path / "tmp123.jsonl", HH[:2]), name="votes")
    assert [(i.external_id, i.source) for i in instances] == [("votes:1", "votes"), ("votes:2", "votes")]


def test_numbers_as_votes_need_an_explanation(tmp_path: Path) -> None:
    rows = [{"prompt": "Q", "response_a": "x", "response_b": "y", "label": n} for n in (0, 1)]
    path = jsonl(tmp_path / "x.jsonl", rows)
    columns, found, _ = preview(path)
    guess = suggest_mapping(columns, found)
    assert guess is not None
    assert (guess.preference, guess.meta) == (None, ("label",))
    unexplained = guess.model_copy(update={"preference": "label", "meta": ()})
    assert [error.field for error in read(path, unexplained)[1]] == ["label", "label"]
    explained = unexplained.model_copy(update={"values": {"0": "a", "1": "b"}})
    values = [i.annotations[0].answers["overall"]["value"] for i in read(path, explained)[0]]
    assert values == ["a-is-clearly-better", "b-is-clearly-better"]


def test_json_lines_named_json_are_read(tmp_path: Path) -> None:
    instances, errors = read(jsonl(tmp_path / "x.json", [{"prompt": "Q", "completions": ["a"]}] * 2))
    assert (len(instances), errors) == (2, [])


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda child: st.lists(child, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "x"]), child),
    max_leaves=6,
)
ROWS = st.dictionaries(
    st.sampled_from(
        ["prompt", "completions", "chosen", "rejected", "response_a", "response_b", "winner", "id", "models"]
    ),
    JSON_VALUES | st.sampled_from(["\n\nHuman: a\n\nAssistant: b", "a", "tie"]) | st.lists(st.text(), max_size=3),
)
MAPPINGS = st.sampled_from(
    [
        ColumnMapping(chosen="chosen", rejected="rejected"),
        ColumnMapping(prompt="prompt", chosen="chosen", rejected="rejected", external_id="id"),
        ColumnMapping(prompt="prompt", completions=("completions",), models=("models",), meta=("id",)),
        ColumnMapping(prompt="prompt", completions=("response_a", "response_b"), preference="winner", annotator="id"),
    ]
)


def outcome_of(row: dict[str, Any], mapping: ColumnMapping) -> ImportedInstance | RowError:
    try:
        return instance_of(row, mapping, ReadOptions(), line=1, name="x")
    except BadRow as refused:
        return refused.at(1)


@given(ROWS, MAPPINGS)
def test_any_row_becomes_a_valid_instance_or_a_named_error(row: dict[str, Any], mapping: ColumnMapping) -> None:
    instance = outcome_of(row, mapping)
    if isinstance(instance, RowError):
        assert instance.field
        assert instance.reason
        return
    assert 1 <= len(instance.completions) <= 12
    assert all(completion["content"] for completion in instance.completions)
    assert instance.prompt
    json.dumps([instance.prompt, instance.completions, instance.meta], allow_nan=False)
