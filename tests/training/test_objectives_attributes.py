"""Reward models of several attributes, and directions over them."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.objective_cases import arrays, certain, log_sigmoid, pairs, part, run, tensor, value
from tests.training.test_objectives_runs import prepare, read
from training import run as training_run
from training.engine.gate import Gate
from training.engine.readers.attributes import direction_line, drawn_directions
from training.objectives.attributes import decorrelation, gated, pair_loss, ridge


def wide(seed: int = 0) -> Any:
    """Pairs with three attribute scores."""
    case = pairs(seed)
    return replace(case, scores=tensor(np.random.default_rng(seed).normal(size=(12, 3))))


def test_the_regression_is_that_of_the_numpy_oracle() -> None:
    case = wide()
    loss = run("multi_objective", case)
    y, s = case.completions.values.numpy(), case.scores.numpy()
    np.testing.assert_allclose(loss.terms.numpy(), np.nansum((0.5 + s - y) ** 2, axis=1), rtol=1e-12)
    np.testing.assert_array_equal(loss.weights.numpy(), (~np.isnan(y)).sum(axis=1))
    assert 0 < np.isnan(y).sum() < y.size


def test_the_regression_passes_gradcheck_and_does_not_see_what_was_not_rated() -> None:
    case = wide(1)
    scores = case.scores.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: run("multi_objective", replace(case, scores=x)).terms.sum(), (scores,))
    run("multi_objective", replace(case, scores=scores)).terms.sum().backward()  # type: ignore[no-untyped-call]
    unrated = torch.isnan(case.completions.values)
    assert bool((scores.grad[unrated] == 0).all())
    assert bool((scores.grad[~unrated] != 0).all())


def test_splitting_a_batch_changes_nothing() -> None:
    case = wide(2)
    halves = [run("multi_objective", part(case, groups)) for groups in ([0, 3, 1], [2, 4, 5])]
    whole = run("multi_objective", case)
    assert sum(float(half.terms.sum()) for half in halves) == pytest.approx(float(whole.terms.sum()))
    assert sum(float(half.weights.sum()) for half in halves) == pytest.approx(float(whole.weights.sum()))


def test_ridge_solves_each_attribute_over_the_rows_that_have_it() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(40, 5)), generator.normal(size=(40, 2))
    y[generator.uniform(size=y.shape) < 0.4] = np.nan
    found = ridge(tensor(x), tensor(y), 2.5).numpy()
    for attribute in range(2):
        rows = ~np.isnan(y[:, attribute])
        # the augmented least squares problem that ridge is
        a = np.vstack([x[rows], np.sqrt(2.5) * np.eye(5)])
        b = np.concatenate([y[rows, attribute], np.zeros(5)])
        np.testing.assert_allclose(found[attribute], np.linalg.lstsq(a, b, rcond=None)[0], rtol=1e-9)


def test_ridge_without_ratings_of_an_attribute_says_nothing_of_it() -> None:
    assert ridge(tensor(np.eye(3)), tensor(np.full((3, 1), np.nan)), 1.0).tolist() == [[0.0, 0.0, 0.0]]


def test_decorrelated_attributes_do_not_go_with_length() -> None:
    generator = np.random.default_rng(1)
    lengths = generator.integers(3, 200, 50)
    scores = generator.normal(size=(50, 3)) + np.log(lengths)[:, None] * np.array([2.0, -1.0, 0.0])
    slopes = decorrelation(tensor(scores), torch.as_tensor(lengths))
    left = scores - slopes.numpy() * np.log(lengths)[:, None]
    for attribute in range(3):
        assert np.corrcoef(left[:, attribute], np.log(lengths))[0, 1] == pytest.approx(0, abs=1e-12)
    assert decorrelation(tensor(scores), torch.full((50,), 7)).tolist() == [0.0] * 3


def test_one_attribute_without_verbosity_is_bradley_terry() -> None:
    case = replace(pairs(**certain()), scores=tensor(np.random.default_rng(3).normal(size=(12, 1))))
    rewards = gated(case.scores, torch.ones(12, 1, dtype=torch.float64), tensor([0.0]), case.scored)
    loss = pair_loss(rewards[case.edges.left] - rewards[case.edges.right], case.edges.probability)
    torch.testing.assert_close(loss, run("bt", case).terms)


def test_the_gate_is_that_of_the_numpy_oracle_and_untaught_weighs_alike() -> None:
    generator = np.random.default_rng(4)
    asked, scores = generator.normal(size=(5, 6)), generator.normal(size=(5, 3))
    lengths = generator.integers(2, 30, 5)
    gate = Gate(6, 3, 4)
    even = gate(torch.as_tensor(asked, dtype=torch.float32), tensor(scores), torch.as_tensor(lengths))
    np.testing.assert_allclose(even.numpy(), scores.mean(axis=1), rtol=1e-6)
    torch.nn.init.normal_(gate.outer.weight)
    gate.verbosity.copy_(torch.tensor([0.5, 0.0, -1.0]))
    hidden = np.maximum(asked @ gate.inner.weight.numpy().T + gate.inner.bias.numpy(), 0)
    logits = hidden @ gate.outer.weight.numpy().T
    weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = (weights * (scores - np.array([0.5, 0.0, -1.0]) * np.log(lengths)[:, None])).sum(axis=1)
    found = gate(torch.as_tensor(asked, dtype=torch.float32), tensor(scores), torch.as_tensor(lengths))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_pair_loss_passes_gradcheck_and_is_the_oracles() -> None:
    case = pairs(5)
    a = arrays(case)
    apart = tensor(a["s"][a["l"]] - a["s"][a["r"]])
    expected = -a["p"] * log_sigmoid(apart.numpy()) - (1 - a["p"]) * log_sigmoid(-apart.numpy())
    np.testing.assert_allclose(pair_loss(apart, case.edges.probability).numpy(), expected, rtol=1e-12)
    assert torch.autograd.gradcheck(lambda x: pair_loss(x, case.edges.probability), (apart.requires_grad_(),))


RATED: dict[str, Any] = {"prompt_id": "p", "prompt": "q"}


def scale(name: str, given: int) -> dict[str, Any]:
    return {"scale": name, "value": given, "low": 1, "high": 5}


def test_ratings_of_a_text_are_averaged_and_missing_ones_stay_missing(tmp_path: Path) -> None:
    rows = [
        RATED | {"completion": "a", "ratings": [scale("helpful", 5), scale("short", 1)]},
        RATED | {"completion": "a", "ratings": [scale("helpful", 3)]},
        RATED | {"completion": "b", "ratings": [scale("helpful", 1)]},
        RATED | {"completion": None, "ratings": [scale("helpful", 1)]},
    ]
    group, left_out = read(tmp_path, "attributes", *rows)
    assert group.completions == ("a", "b")
    assert [dict(label.attributes) for label in group.labels] == [{"helpful": 0.75, "short": 0.0}, {"helpful": 0.0}]
    assert left_out.unusable == "rates the instance and no completion"


def test_a_direction_picks_what_reaches_furthest_in_it(tmp_path: Path) -> None:
    rows = [
        RATED | {"completion": "kind", "ratings": [scale("helpful", 5), scale("short", 1)]},
        RATED | {"completion": "brief", "ratings": [scale("helpful", 1), scale("short", 5)]},
        RATED | {"completion": "unknown", "ratings": [scale("short", 5)]},
    ]
    groups = read(tmp_path, "directed", *rows, directions=8)
    assert len(groups) == 8
    for group, (helpful, short) in zip(groups, drawn_directions("p", 2, 8), strict=True):
        assert group.completions == (("kind",) if helpful > short else ("brief",))
        assert group.prompt == f"q\n\n[helpful: {helpful:.2f}, short: {short:.2f}]"
    assert {group.completions[0] for group in groups} == {"kind", "brief"}


@given(st.text(), st.integers(1, 6), st.integers(1, 8))
def test_directions_have_length_one_and_follow_from_the_prompt(prompt: str, attributes: int, count: int) -> None:
    drawn = drawn_directions(prompt, attributes, count)
    assert drawn == drawn_directions(prompt, attributes, count)
    for direction in drawn:
        assert sum(part**2 for part in direction) == pytest.approx(1)
        assert min(direction) >= 0
    if attributes == 1:
        assert drawn == [(1.0,)] * count


def test_a_direction_of_another_length_is_refused() -> None:
    assert direction_line({"helpful": 0.6, "short": 0.8}) == "[helpful: 0.60, short: 0.80]"
    with pytest.raises(ValueError, match="must have length 1"):
        direction_line({"helpful": 1.0, "short": 1.0})


SCORE = """
import json, sys, torch
from pathlib import Path
from training.engine import loading
from training.generation.best_of_n import score_completions
folder, heads, asked = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
model = loading.load_model(folder / "model", "reward", packed=True, device=torch.device("cpu"), heads=heads)
prompts = [tuple(row["prompt"]) for row in asked]
several = [[tuple(row["chosen"]), tuple(row["rejected"])] for row in asked]
print(json.dumps(score_completions(model, loading.load_tokenizer(folder / "model"), prompts, several)))
"""


def scores_in_a_fresh_process(folder: Path, heads: int, rows: list[dict[str, Any]]) -> Any:
    command = [sys.executable, "-c", SCORE, str(folder), str(heads), json.dumps(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    return json.loads(done.stdout)


@pytest.mark.parametrize(("name", "shape", "heads"), [("multi_objective", "ratings", 1), ("fine_grained", "spans", 2)])
def test_a_model_with_parts_of_its_own_scores_the_same_in_a_fresh_process(
    tmp_path: Path, name: str, shape: str, heads: int
) -> None:
    folder = prepare(tmp_path, name, shape, epochs=2)
    assert training_run.execute(folder) == 0
    held = [json.loads(line) for line in (folder / "beside-held.jsonl").read_text().splitlines()]
    lines = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    expected = [[line["score_chosen"], line["score_rejected"]] for line in lines if line["split"] == "test"]
    found = scores_in_a_fresh_process(folder, heads, held)
    np.testing.assert_allclose(found, expected[-len(held) :], atol=1e-4)
    assert len({round(score, 6) for pair in found for score in pair}) > 2


def test_a_reward_model_of_attributes_becomes_another_without_its_gate(tmp_path: Path) -> None:
    for name in ("base", "next"):
        (tmp_path / name).mkdir()
    base = prepare(tmp_path / "base", "multi_objective", "ratings", max_steps=2)
    assert training_run.execute(base) == 0
    assert json.loads((base / "model" / "config.json").read_text())["gate"]["attributes"] == ["quality"]
    folder = prepare(tmp_path / "next", "bt", "preference", base_model=str(base / "model"), max_steps=2)
    assert training_run.execute(folder) == 0
    assert json.loads((folder / "model" / "config.json").read_text())["gate"] is None


def test_attributes_without_preferences_are_refused(tmp_path: Path) -> None:
    folder = prepare(tmp_path, "multi_objective", "ratings")
    raw = json.loads((folder / "run.json").read_text())
    del raw["data"]["beside"]
    (folder / "run.json").write_text(json.dumps(raw))
    assert training_run.execute(folder) == 1
    assert "multi_objective reads a second shape in data.beside" in (folder / "result.json").read_text()


def test_value_of_a_step() -> None:
    """The loss of a step is the mean over all ratings, whosever they are."""
    case = wide(6)
    y, s = case.completions.values.numpy(), case.scores.numpy()
    assert value(run("multi_objective", case)) == pytest.approx(np.nanmean((0.5 + s - y) ** 2))
