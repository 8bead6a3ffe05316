"""Each objective from a file of its shape to a model, by the training process itself."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.tiny_models import settings, write_rows
from training import run as training_run
from training.base_model import preference_pairs
from training.engine.errors import RunError
from training.engine.readers.files import read_groups
from training.objectives.catalogue import OBJECTIVES


@pytest.fixture(autouse=True)
def _own_signals() -> Any:
    """A run in this process takes SIGTERM for itself; give it back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def words(messages: Any) -> str:
    return str(messages[-1]["content"])


def rankings(count: int) -> list[dict[str, Any]]:
    """Rankings of three: the chosen, the rejected, and the two in one, tied with the rejected every third time."""
    rows = []
    for number, row in enumerate(preference_pairs(count, seed=5)):
        good, bad = words(row["chosen"]), words(row["rejected"])
        ranks = [2, 1, 3] if number % 3 else [2, 1, 2]
        head = {"id": f"r{number}", "prompt_id": row.get("prompt_id") or f"p{number}", "prompt": row["prompt"]}
        rows.append({**head, "completions": [f"{bad} {good}", good, bad], "ranks": ranks, "source": "human"})
    return rows


def ratings(count: int) -> list[dict[str, Any]]:
    scale = {"scale": "quality", "low": 1, "high": 5, "weight": 1.0}
    return [
        {
            "id": f"{row['id']}-{number}",
            "prompt_id": row["id"],
            "prompt": row["prompt"],
            "completion": text,
            "ratings": [scale | {"value": 5 - 2 * number}],
            "score": 1 - number / 2,
        }
        for row in rankings(count)
        for number, text in enumerate(row["completions"])
    ]


def unpaired(count: int) -> list[dict[str, Any]]:
    return [
        {"id": f"u{number}-{side}", "prompt": row["prompt"], "completion": row[side], "label": side == "chosen"}
        for number, row in enumerate(preference_pairs(count, seed=5))
        for side in ("chosen", "rejected")
    ]


def demonstrations(count: int) -> list[dict[str, Any]]:
    rows = preference_pairs(count, seed=5)
    return [{"id": f"d{n}", "prompt": row["prompt"], "completion": row["chosen"]} for n, row in enumerate(rows)]


def critiques(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"c{number}",
            "prompt": row["prompt"],
            "completion": words(row["rejected"]),
            "critique": "Answer the question that was asked.",
            "refinement": words(row["chosen"]) if number % 4 else None,
        }
        for number, row in enumerate(preference_pairs(count, seed=5))
    ]


def spans(count: int) -> list[dict[str, Any]]:
    """The rejected completion is irrelevant in its first word, and lacks something that the chosen one has."""
    return [
        {
            "id": f"s{number}",
            "prompt": row["prompt"],
            "completions": [{"content": words(row[side])} for side in ("chosen", "rejected")],
            "feedback": {
                "errors": [{"target": 1, "start": 0, "end": 1, "error type": "Irrelevant"}],
                "missing-info": [{"target": 1, "error type": "Missing-Answer"}],
            },
        }
        for number, row in enumerate(preference_pairs(count, seed=5))
    ]


ROWS = {
    "spans": spans,
    "prompt-completion": demonstrations,
    "critiques": critiques,
    "preference-conversational": lambda count: preference_pairs(count, seed=5),
    "preference": lambda count: preference_pairs(count, seed=5),
    "ranked": rankings,
    "ratings": ratings,
    "unpaired": unpaired,
}


def files_of(folder: Path, shape: str, prefix: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    cut = len(rows) * 2 // 3
    return {
        "shape": shape,
        "train": [write_rows(folder / f"{prefix}shaped.jsonl", rows[:cut])],
        "test": [write_rows(folder / f"{prefix}held.jsonl", rows[cut:])],
    }


def prepare(folder: Path, objective: str, shape: str, **changes: Any) -> Path:
    rows = ROWS[shape](24)
    data = files_of(folder, shape, "", rows)
    if OBJECTIVES[objective].beside:
        second = next(iter(OBJECTIVES[objective].beside))
        data["beside"] = files_of(folder, second, "beside-", ROWS[second](24))
    (folder / "run.json").write_text(json.dumps(settings(folder, objective, **{"max_steps": 6, **changes}, data=data)))
    return folder


FIRST = [(name, next(iter(objective.consumes))) for name, objective in OBJECTIVES.items()]
MORE = [("dpo", "ranked"), ("plackett_luce", "ratings"), ("kto", "preference"), ("hindsight", "preference")]


@pytest.mark.parametrize(("name", "shape"), [*FIRST, *MORE])
def test_an_objective_runs_from_its_data_to_a_model(tmp_path: Path, name: str, shape: str) -> None:
    folder = prepare(tmp_path, name, shape, learning_rate=3e-3, epochs=3)
    code = training_run.execute(folder)
    result = json.loads((folder / "result.json").read_text())
    assert (code, result["status"], result["error"]) == (0, "finished", None)
    assert result["evaluation"]["test"]["rows"] > 0
    points = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    curves = {name: [point["value"] for point in points if point["name"] == name] for name in ("loss", "margin")}
    assert len(curves["loss"]) == result["steps"] > 2
    # the better completions' rewards pull ahead; without preferences the loss falls
    assert (
        max(curves["margin"][1:]) > curves["margin"][0] if curves["margin"] else curves["loss"][-1] < curves["loss"][0]
    )
    assert (folder / "model" / "model.safetensors").is_file()


# votes come from trainings of their own; without their say only the step itself is compared
UNVOTED = {"strength_voting": {"flip_share": 0.0, "soften_share": 0.0, "vote_margin": 0.0, "rounds": 1}}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shape"), FIRST)
def test_a_step_is_the_same_packed_padded_and_in_micro_batches(tmp_path: Path, name: str, shape: str) -> None:
    """The first update over all rows: one batch, many micro-batches of trees, and many of padded rows."""
    steps = []
    for number, (attention, budget) in enumerate((("segments", 65536), ("segments", 300), ("padded", 300))):
        (tmp_path / str(number)).mkdir()
        changes: dict[str, Any] = {"attention": attention, "tokens_per_batch": budget, "gradient_accumulation": 1000}
        options = UNVOTED.get(name, {})
        folder = prepare(tmp_path / str(number), name, shape, epochs=1, objective_options=options, **changes)
        assert training_run.execute(folder) == 0, (folder / "result.json").read_text()
        points = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        steps.append({one["name"]: one["value"] for one in points if one["name"] in ("loss", "grad_norm", "margin")})
        assert json.loads((folder / "result.json").read_text())["steps"] == 1
    for other in steps[1:]:
        assert other == pytest.approx(steps[0], rel=2e-4, abs=1e-6)


def test_a_reward_model_is_described_by_its_own_run_and_not_by_its_base(tmp_path: Path) -> None:
    from training.engine import loading
    from training.generation.best_of_n import score_completions

    for name in ("base", "next"):
        (tmp_path / name).mkdir()
    base = prepare(tmp_path / "base", "pair_pm", "preference", max_steps=2)
    assert training_run.execute(base) == 0
    assert json.loads((base / "model" / "config.json").read_text())["reads_pairs"] is True
    folder = prepare(tmp_path / "next", "bt", "preference", base_model=str(base / "model"), max_steps=2)
    assert training_run.execute(folder) == 0
    model = loading.load_model(folder / "model", "reward", packed=False, device=torch.device("cpu"))
    [[first, second]] = score_completions(model, loading.load_tokenizer(folder / "model"), ["red"], [["blue", "a"]])
    assert first != second


def read(tmp_path: Path, reader: Any, *rows: dict[str, Any], scale: float = 0.0, **options: Any) -> Any:
    return read_groups([write_rows(tmp_path / "rows.jsonl", list(rows))], reader, margin_scale=scale, **options)


def test_an_ensemble_is_scored_as_it_was_trained(tmp_path: Path) -> None:
    from training.engine import loading
    from training.generation.best_of_n import score_completions

    options = {"heads": 3, "combine": "worst"}
    folder = prepare(tmp_path, "ensemble", "preference", objective_options=options, max_steps=2)
    assert training_run.execute(folder) == 0
    model = loading.load_model(folder / "model", "reward", packed=True, device=torch.device("cpu"), heads=3)
    held = [json.loads(line) for line in (folder / "held.jsonl").read_text().splitlines()]
    found = score_completions(
        model,
        loading.load_tokenizer(folder / "model"),
        [tuple(row["prompt"]) for row in held],
        [[tuple(row["chosen"]), tuple(row["rejected"])] for row in held],
    )
    lines = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    expected = [[line["score_chosen"], line["score_rejected"]] for line in lines if line["split"] == "test"]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    with pytest.raises(RunError, match="has 3 heads and the run asks for 1"):
        loading.load_model(folder / "model", "reward", packed=True, device=torch.device("cpu"))


def test_ratings_stand_before_the_completion_that_they_rate(tmp_path: Path) -> None:
    scales = [{"scale": "helpful", "value": 4, "low": 1, "high": 5}, {"scale": "short", "value": 1, "high": 3}]
    row = {"prompt": [{"role": "user", "content": "q"}], "completion": "a", "ratings": scales}
    (group,) = read(tmp_path, "controlled", row)
    assert group.prompt == ({"role": "user", "content": "q\n\n[helpful: 4/5, short: 1/3]"},)
    assert group.completions == ("a",)


def test_hindsight_tells_the_bad_answer_first_and_leaves_ties_out(tmp_path: Path) -> None:
    pair = {"prompt": "q", "chosen": "yes", "rejected": "no"}
    said, doubted, tie = read(tmp_path, "hindsight", pair, pair | {"soft_label": 0.2}, pair | {"strength": 0})
    assert said.completions == ("Bad: no\n\nGood: yes",)
    assert doubted.completions == ("Bad: yes\n\nGood: no",)
    assert tie.unusable == "a tie has no better side"


def test_a_pair_model_refuses_to_score_one_completion(tmp_path: Path) -> None:
    from training.engine import loading
    from training.generation.best_of_n import score_completions

    folder = prepare(tmp_path, "pair_pm", "preference", max_steps=1)
    assert training_run.execute(folder) == 0
    model = loading.load_model(folder / "model", "reward", packed=True, device=torch.device("cpu"))
    with pytest.raises(ValueError, match="compares two completions"):
        score_completions(model, loading.load_tokenizer(folder / "model"), ["q"], [["a"]])


def test_a_pair_is_read_in_both_orders(tmp_path: Path) -> None:
    (group,) = read(tmp_path, "ordered", {"prompt": "q", "chosen": "yes", "rejected": "no", "soft_label": 0.7})
    assert group.completions == ("First: yes\n\nSecond: no", "First: no\n\nSecond: yes")
    assert [edge.probability for edge in group.preferences] == [0.7]


def test_critiques_stand_between_a_completion_and_its_refinement(tmp_path: Path) -> None:
    row = {"prompt": "q", "completion": "no", "critique": "Too short.", "refinement": "No, because."}
    (story,) = read(tmp_path, "criticised", row)
    assert story.completions == ("Bad: no\n\nCritique: Too short.\n\nGood: No, because.",)
    alone, without = read(tmp_path, "refined", row, row | {"refinement": None})
    assert alone.completions == ("No, because.",)
    assert without.unusable == "has no refinement"


RANKED: dict[str, Any] = {"prompt": "q", "completions": ["a", "b", "c", "d"], "ranks": [2, 1, None, 2]}


def test_a_ranking_leaves_out_what_has_no_rank_and_keeps_ties(tmp_path: Path) -> None:
    (group,) = read(tmp_path, "ranking", RANKED, scale=0.5)
    assert group.completions == ("a", "b", "d")
    assert [(label.rank, label.gain) for label in group.labels] == [(2, 0.0), (1, 1.0), (2, 0.0)]
    edges = [(e.left, e.right, e.margin, e.probability) for e in group.preferences]
    assert edges == [(1, 0, 0.5, 1.0), (0, 2, 0.0, 0.5), (1, 2, 0.5, 1.0)]


def test_a_ranking_of_one_is_reported_and_not_lost(tmp_path: Path) -> None:
    (group,) = read(tmp_path, "ranking", RANKED | {"ranks": [1, None, None, None]})
    assert group.unusable == "fewer than two completions to compare"


def test_ratings_of_a_prompt_become_one_list_by_their_mean(tmp_path: Path) -> None:
    rows = [
        {"prompt_id": "p", "prompt": "q", "completion": text, "score": score}
        for text, score in (("a", 0.2), ("b", 0.9), ("a", 0.6), ("c", 0.4))
    ]
    whole = {"prompt_id": "p", "prompt": "q", "completion": None, "score": 0.5}
    group, left_out = read(tmp_path, "ratings", *rows, whole)
    assert group.completions == ("a", "b", "c")
    assert [round(label.gain, 9) for label in group.labels] == [0.4, 0.9, 0.4]
    assert [label.rank for label in group.labels] == [2, 1, 2]
    assert left_out.unusable == "rates the instance and no completion"


@pytest.mark.parametrize(
    ("reader", "row", "says"),
    [
        ("ranking", {"prompt": "q", "completions": ["a"], "ranks": [1, 2]}, "not two lists of one length"),
        ("ranking", RANKED | {"ranks": [0, 1, 2, 3]}, "whole numbers from 1"),
        ("ranking", RANKED | {"ranks": [True, 1, 2, 3]}, "whole numbers from 1"),
        ("ranking", RANKED | {"completions": ["a", 3, "c", "d"]}, "completion is neither"),
        ("ratings", {"prompt": "q", "completion": "a", "score": 2}, "score is outside"),
        ("unpaired", {"prompt": "q", "completion": "a", "label": 1}, "neither true nor false"),
        ("controlled", {"prompt": "q", "completion": "a", "ratings": [3]}, "no list of scale"),
        ("refined", {"prompt": "q", "refinement": 3}, "refinement is neither"),
    ],
)
def test_rows_that_do_not_fit_are_named(tmp_path: Path, reader: Any, row: dict[str, Any], says: str) -> None:
    with pytest.raises(RunError, match=says):
        read(tmp_path, reader, row)


def test_an_objective_refuses_data_of_another_shape(tmp_path: Path) -> None:
    folder = prepare(tmp_path, "plackett_luce", "preference")
    assert training_run.execute(folder) == 1
    error = json.loads((folder / "result.json").read_text())["error"]
    assert "plackett_luce does not read data of the shape preference; it reads ranked, ratings" in error


def test_the_divergence_is_refused_for_data_of_one_prompt(tmp_path: Path) -> None:
    folder = prepare(tmp_path, "kto", "unpaired")
    one = [row | {"prompt": "the same", "prompt_id": "same"} for row in unpaired(6)]
    write_rows(folder / "shaped.jsonl", one)
    write_rows(folder / "held.jsonl", one)
    assert training_run.execute(folder) == 1
    assert "only one prompt" in json.loads((folder / "result.json").read_text())["error"]
