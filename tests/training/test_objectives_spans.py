"""Reward models of marked spans."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.objective_cases import arrays, log_sigmoid, pairs, part, run, tensor
from tests.training.test_objectives_runs import prepare, read, spans
from tests.training.tiny_models import make_tokenizer, write_rows
from training import run as training_run
from training.engine.records import Mark
from training.engine.segments import Segmenting, pieces
from training.engine.tokens import Lengths, tokenise
from training.objectives.spans import segment_rewards
from training.objectives.type_weights import parse_type_weights


def wide(seed: int = 0) -> Any:
    """Pairs with scores of two error types and completeness."""
    return replace(pairs(seed), scores=tensor(np.random.default_rng(seed).normal(size=(12, 3))))


def test_the_loss_is_that_of_the_numpy_oracle() -> None:
    case = wide()
    loss = run("fine_grained", case, label_smoothing=0.1)
    a, y, z = arrays(case), case.segments.labels.numpy(), case.segment_scores.numpy()[:, :2]
    known = ~np.isnan(y)
    wrong = np.where(known, -np.nan_to_num(y) * log_sigmoid(z) - (1 - np.nan_to_num(y)) * log_sigmoid(-z), 0)
    of_segments = wrong.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    p = a["p"] * 0.9 + (1 - a["p"]) * 0.1
    c = case.scores.numpy()[:, -1]
    d = c[a["l"]] - c[a["r"]]
    of_pairs = a["w"] * (-p * log_sigmoid(d) - (1 - p) * log_sigmoid(-d))
    np.testing.assert_allclose(loss.terms.numpy(), np.concatenate([of_segments, of_pairs]), rtol=1e-10)
    expected = np.concatenate([known.any(axis=1).astype(float), a["w"]])
    np.testing.assert_allclose(loss.weights.numpy(), expected, rtol=1e-12)


def test_gradients_pass_gradcheck() -> None:
    case = wide(1)
    given_scores = [case.scores.clone().requires_grad_(), case.segment_scores.clone().requires_grad_()]
    assert torch.autograd.gradcheck(
        lambda x, z: run("fine_grained", replace(case, scores=x, segment_scores=z)).terms.sum(), given_scores
    )


def test_splitting_a_batch_changes_nothing() -> None:
    case = wide(2)
    halves = [run("fine_grained", part(case, groups)) for groups in ([0, 3, 1], [2, 4, 5])]
    whole = run("fine_grained", case)
    assert sum(float(half.terms.sum()) for half in halves) == pytest.approx(float(whole.terms.sum()))
    assert sum(float(half.weights.sum()) for half in halves) == pytest.approx(float(whole.weights.sum()))


def test_without_marks_it_is_bradley_terry_on_completeness() -> None:
    case = wide(3)
    nobody = replace(case.segments, labels=torch.full_like(case.segments.labels, math.nan))
    loss = run("fine_grained", replace(case, segments=nobody))
    plain = run(
        "bt", replace(case, scores=case.scores[:, -1:], edges=replace(case.edges, margin=0 * case.edges.margin))
    )
    assert float(loss.terms.sum()) == pytest.approx(float(plain.terms.sum()))
    assert float(loss.weights.sum()) == pytest.approx(float(plain.weights.sum()))


def test_rewards_are_completeness_less_the_mean_chance_of_each_error() -> None:
    scores = tensor([[9.0, 9.0, 1.0], [9.0, 9.0, 2.0]])
    segment_scores = tensor([[0.0, -40.0, 5.0], [40.0, -40.0, 5.0]])
    found = segment_rewards(scores, segment_scores, torch.tensor([0, 0]), tensor([2.0, 10.0, 0.5]))
    # completion 0: chances (1/2, 0) and (1, 0), so that 2 × 3/4 goes off; completion 1 has no segment
    np.testing.assert_allclose(found.numpy(), [0.5 - 1.5, 1.0])


@given(st.text())
def test_pieces_are_in_order_apart_and_hold_all_but_blanks(text: str) -> None:
    for style in ("sentence", "clause"):
        found = pieces(text, style)  # type: ignore[arg-type]
        assert all(start < end for start, end in found)
        assert all(before[1] <= after[0] for before, after in pairwise(found))
        assert "".join("".join(text[start:end].split()) for start, end in found) == "".join(text.split())


def test_sentences_and_clauses() -> None:
    text = "One, two. Three!\n\nFour"
    assert [text[a:b] for a, b in pieces(text, "sentence")] == ["One, two.", "Three!", "Four"]
    assert [text[a:b] for a, b in pieces(text, "clause")] == ["One,", "two.", "Three!", "Four"]


def test_a_span_marks_the_segment_that_it_reaches_into(tmp_path: Path) -> None:
    text = "The red Café is old. It is wide. It is small."
    at = text.index("wide")
    row = {
        "prompt": "q",
        "completions": [{"content": text}, {"content": "Other."}],
        "feedback": {
            "errors": [
                {"target": 0, "start": at, "end": at + 4, "error type": "Wrong"},
                {"target": -1, "start": 0, "end": 1, "error type": "Wrong"},
            ],
            "missing-info": [{"target": 1, "error type": "Missing"}],
        },
    }
    groups = read(tmp_path, "marked", row)
    assert groups[0].labels[0].marks == (Mark(at, at + 4, "Wrong"),)
    assert [(edge.left, edge.right) for edge in groups[0].preferences] == [(0, 1)]
    for template in (True, False):
        tokenizer = make_tokenizer(template=template)
        (tokens,), _ = tokenise(groups, tokenizer, Lengths(256, None, "drop"), Segmenting("sentence", ("Wrong",)))
        first = tokens.segments[0]
        assert [segment.labels for segment in first] == [(0.0,), (1.0,), (0.0,)]
        ends = [tokenizer.decode(list(tokens.completions[0][: segment.token + 1])).strip() for segment in first]
        assert ends == ["The red Café is old.", "The red Café is old. It is wide.", text]
        assert [segment.labels for segment in tokens.segments[1]] == [(0.0,)]


def test_completions_without_marks_are_clean_or_not_judged(tmp_path: Path) -> None:
    rows = spans(1)
    rows[0]["feedback"]["missing-info"] = []
    (clean,) = read(tmp_path, "marked", *rows)
    (skipped,) = read(tmp_path, "marked", *rows, unmarked="skip")
    assert clean.labels[0].marks == ()
    assert skipped.labels[0].marks is None
    assert skipped.labels[1].marks == clean.labels[1].marks


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"completions": "text"}, "completions and feedback"),
        ({"feedback": {"errors": [{"target": 9, "start": 0, "end": 1, "error type": "x"}]}}, "without a completion"),
        ({"feedback": {"errors": [{"target": 0, "start": 0, "end": 9999, "error type": "x"}]}}, "no part of its"),
        ({"feedback": {"errors": [{"target": 0, "start": 0, "end": 1}]}}, "has no error type"),
    ],
)
def test_spans_that_do_not_fit_are_named(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    from training.engine.errors import RunError

    with pytest.raises(RunError, match=says):
        read(tmp_path, "marked", spans(1)[0] | change)


def test_weights_of_error_types_are_read_as_people_write_them() -> None:
    assert parse_type_weights("Irrelevant = 2, Wrong-Grounding=0.5,") == {"Irrelevant": 2.0, "Wrong-Grounding": 0.5}
    assert parse_type_weights(" ") == {}
    for wrong in ("Irrelevant", "Irrelevant = lots", "= 2", "x = -1", "x = nan"):
        with pytest.raises(ValueError, match="no weight of an error type"):
            parse_type_weights(wrong)


def test_a_weight_of_an_unknown_type_is_refused_with_the_types(tmp_path: Path) -> None:
    folder = prepare(tmp_path, "fine_grained", "spans", objective_options={"type_weights": "Dull = 2"})
    assert training_run.execute(folder) == 1
    error = json.loads((folder / "result.json").read_text())["error"]
    assert error == "No span of the training data is Dull; the error types are Irrelevant."


def planted(count: int) -> list[dict[str, Any]]:
    """Spans over every sentence that starts with “Many” (type Hearsay) or has “often” (type Vague)."""
    rows = []
    for row in spans(count):
        errors = []
        for target, completion in enumerate(row["completions"]):
            text = completion["content"]
            for start, end in pieces(text, "sentence"):
                kind = planted_type(text[start:end])
                if kind:
                    errors.append({"target": target, "start": start, "end": end, "error type": kind})
        rows.append(row | {"feedback": {"errors": errors, "missing-info": []}})
    return rows


def planted_type(sentence: str) -> str:
    return "Hearsay" if sentence.startswith("Many ") else "Vague" if " often " in sentence else ""


@pytest.mark.slow
def test_spans_localise_the_planted_error_type(tmp_path: Path) -> None:
    rows = planted(260)
    folder = prepare(tmp_path, "fine_grained", "spans", learning_rate=3e-3, max_steps=None, epochs=3)
    write_rows(folder / "shaped.jsonl", rows[:200])
    write_rows(folder / "held.jsonl", rows[200:])
    assert training_run.execute(folder) == 0
    found = json.loads((folder / "result.json").read_text())["evaluation"]["test"]["segments"]
    for kind in ("Hearsay", "Vague"):
        assert found[kind]["auc"] > 0.9
