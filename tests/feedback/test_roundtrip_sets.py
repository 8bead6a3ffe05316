"""Real sets, in and out: what is frozen after an import equals the source, row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feedback.formats.feedbackqa import RATINGS
from feedback.formats.ilf import fenced
from tests.conftest import Cast, make_cast, shared_data
from tests.feedback.roundtrip import json_rows, round_trip

NAMES = ("test", "valid")


@pytest.fixture
def cast(transactional_db: None, settings: Any, tmp_path: Path) -> Cast:
    settings.FILES_DIR = tmp_path / "files"
    return make_cast(instances=0)


def texts(row: dict[str, Any]) -> list[str]:
    return [completion["content"] for completion in row["completions"]]


def test_qa_feedback(cast: Cast) -> None:
    folder = shared_data("qa-feedback-finegrained")
    trip = round_trip(cast, folder, "spans", "critiques", "preference")
    source = json_rows(folder / "dev_feedback.json.gz")
    spans = trip.of("spans")
    assert len(source) == len(spans) == len(trip.raw()) == 320
    for was, raw, span in zip(source, trip.raw(), spans, strict=True):
        feedback = span["feedback"]
        rebuilt = {
            "question": span["question"],
            "passages": [[passage["title"], *passage["sentences"]] for passage in raw["meta"]["passages"]],
            "gold": raw["meta"]["gold"],
            **{f"prediction {i}": each["content"] for i, each in enumerate(span["completions"], start=1)},
            "feedback": {
                "errors": [_only(error, "error type", "explanation", "start", "end") for error in feedback["errors"]],
                "missing-info": [
                    _only(item, "error type", "passage_id", "sentence_id") for item in feedback["missing-info"]
                ],
                "corrected-prediction": feedback["corrected-prediction"] or "",
            },
            "preference": raw["meta"]["pairwise"],
        }
        assert rebuilt == was
        assert {item["target"] for item in [*feedback["errors"], *feedback["missing-info"]]} <= {0}
    corrected = {row["refinement"] for row in trip.of("critiques")}
    assert corrected == {row["feedback"]["corrected-prediction"] for row in source} - {""}
    strict = {(row["question"], row[f"prediction {i}"]) for row in source for i in range(1, 5)}
    assert {(pair["prompt"], pair["chosen"]) for pair in trip.of("preference")} <= strict


def _only(item: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: item[key] for key in keys}


def test_openassistant_trees(cast: Cast) -> None:
    folder = shared_data("oasst-ranked-trees")
    raw = round_trip(cast, folder).raw()
    trees = json_rows(folder / "en_100_tree.jsonl.gz")
    expected = [one for tree in trees for one in _ranked(tree, tree["prompt"], [])]
    assert len(raw) == len(expected) == 122
    assert [_told(row) for row in raw] == expected


def _ranked(tree: dict[str, Any], message: dict[str, Any], before: list[tuple[str, str]]) -> Iterator[Any]:
    path = [*before, (message["role"].replace("prompter", "user"), message["text"])]
    replies = message["replies"]
    if any(reply.get("rank") is not None for reply in replies):
        ranks = [-1 if reply.get("rank") is None else reply["rank"] for reply in replies]
        ids = [reply["message_id"] for reply in replies]
        emojis = [reply.get("emojis") for reply in replies]
        models = [reply.get("model_name") for reply in replies]
        told = [reply["text"] for reply in replies]
        yield tree["message_tree_id"], message["message_id"], path, told, ranks, ids, emojis, models
    for reply in replies:
        yield from _ranked(tree, reply, path)


def _told(row: dict[str, Any]) -> Any:
    meta = row["meta"]
    path = [(message["role"], message["content"]) for message in row["prompt"]]
    ranks = [rank - 1 for rank in row["answer.ranking.ranks"]]
    replies = meta["replies"]
    ids, emojis = [reply["message_id"] for reply in replies], [reply.get("emojis") for reply in replies]
    models = [each["model"] for each in row["completions"]]
    return meta["message_tree_id"], meta["message_id"], path, texts(row), ranks, ids, emojis, models


def test_feedbackqa(cast: Cast) -> None:
    folder = shared_data("feedbackqa-critiques")
    trip = round_trip(cast, folder, "critiques", skip_bad_rows=True)
    source = [row for name in NAMES for row in json_rows(folder / "CDC" / f"feedback_{name}.json.gz")]
    assert {error["field"] for error in trip.errors} == {f"CDC-{name}:passage.reference.page_title" for name in NAMES}
    source = [
        row for row in source if not any(0x80 <= ord(c) < 0xA0 for c in row["passage"]["reference"]["page_title"])
    ]
    by_instance: dict[str, list[dict[str, Any]]] = {}
    for row in trip.raw():
        by_instance.setdefault(row["instance_id"], []).append(row)
    assert len(source) == len(by_instance) == 978 - len(trip.errors)
    for was, said in zip(source, by_instance.values(), strict=True):
        meta = said[0]["meta"]
        reference = {**meta["passage"]["reference"], "section_content": texts(said[0])[0]}
        rebuilt = {
            "question": said[0]["prompt"][0]["content"],
            "passage": {**meta["passage"], "reference": reference},
            "feedback": Counter(row["answers"]["explanation"]["critiques"][0] for row in said),
            "rating": Counter(_rating(row) for row in said),
        }
        assert rebuilt == {**was, "feedback": Counter(was["feedback"]), "rating": Counter(was["rating"])}
        together = Counter((row["answers"]["explanation"]["critiques"][0], _rating(row)) for row in said)
        assert together == Counter(zip(was["feedback"], was["rating"], strict=True))
    assert len(trip.of("critiques")) == sum(len(row["feedback"]) for row in source)


def _rating(row: dict[str, Any]) -> str:
    return RATINGS[row["answer.rating.quality"][0] - 1]


def test_ilf_programs(cast: Cast) -> None:
    folder = shared_data("ilf-code-feedback")
    trip = round_trip(cast, folder, "critiques")
    source = json_rows(folder / "surge_annotations.jsonl.gz")
    rows = trip.of("critiques")
    assert len(source) == len(rows) == 120
    workers: dict[str | None, set[str]] = {}
    for was, raw, row in zip(source, trip.raw(), rows, strict=True):
        meta = {key: value for key, value in raw["meta"].items() if key != "anonymous_annotators"}
        workers.setdefault(was["worker_id"], set()).add(raw["annotator"])
        rebuilt = {
            **meta,
            "prompt": _code(row["prompt"][0]["content"]),
            "Feedback": row["critique"],
            "original_model_completion": _code(row["completion"]),
            "unedited_annotator_completion": _code(row["refinement"]),
            "worker_id": was["worker_id"],
        }
        assert rebuilt == was
    assert len(workers) == len(set.union(*workers.values())) == 11  # one pseudonym each


def _code(block: str) -> str:
    code = block.split("\n", 1)[1].rsplit("\n", 1)[0]
    assert fenced(code) == block
    return code


def test_mtbench_votes_verdicts_and_chats(cast: Cast) -> None:
    folder = shared_data("mtbench-human-gpt4")
    trip = round_trip(cast, folder)
    raw = trip.raw()
    prompts = {row["question_id"]: row["turns"] for row in json_rows(folder / "question.jsonl")}
    answers = {}
    for file in (folder / "model_answer").glob("*.jsonl"):
        for row in json_rows(file):
            answers[row["model_id"], row["question_id"]] = row["choices"][0]["turns"]
    people: Counter[Any] = Counter()
    for row in json_rows(folder / "human.jsonl"):
        people[_vote(row), row["judge"]] += 1
    judges = Counter(_vote(row) for row in json_rows(folder / "gpt4_pair.jsonl"))
    names = _names(trip.task)
    found: Counter[Any] = Counter()
    merged: Counter[Any] = Counter()
    for row in raw:
        number, turn = row["meta"]["question_id"], row["meta"]["turn"]
        models = [completion["model"] for completion in row["completions"]]
        assert row["prompt"] == [{"role": "user", "content": prompts[number][0]}]
        for model, text in zip(models, texts(row), strict=True):
            said = answers[model, number]
            chat = f"{said[0]}\n\n**User:** {prompts[number][1]}\n\n**Assistant:** {said[1]}"
            assert text == (said[0] if turn == 1 else chat)
        signed = row["answer.overall.strength"]
        key = (number, turn, *models, models[0] if signed < 0 else models[1] if signed > 0 else "tie")
        if row["source"] == "human":
            found[key, names[row["annotator"]]] += 1
        else:
            merged[key] += 1
    assert found == people
    assert merged == judges


def _vote(row: dict[str, Any]) -> tuple[Any, ...]:
    winner = row.get(row["winner"], "tie")
    return (row["question_id"], row["turn"], *sorted((row["model_a"], row["model_b"])), winner)


def _names(task: Any) -> dict[str, str]:
    return {one.pseudonym: one.name for one in task.project.annotators.all()}


def test_llmbar_labels_and_judges(cast: Cast) -> None:
    folder = shared_data("llmbar-judges")
    trip = round_trip(cast, folder)
    names = _names(trip.task)
    found = {}
    for row in trip.raw():
        judge = "" if row["source"] == "human" else names[row["annotator"]]
        told = row["details"].get("orders") or {"ab": row["answers"]["overall"]["value"]}
        sides = {order: {"a": 1, "b": 2}[value[0]] for order, value in told.items()}
        key = (row["meta"]["subset"], row["prompt"][0]["content"], *texts(row), judge)
        assert key not in found
        found[key] = sides
    expected = {}
    for file in sorted((folder / "LLMBar").rglob("*.json.gz")):
        labels = file.name.startswith("dataset")
        subset = file.parent.name if labels else file.parents[3].name
        judge = "" if labels else f"{file.parents[1].name} {file.parent.name}"
        for row in json_rows(file):
            key = (subset, row["input"], row["output_1"], row["output_2"], judge)
            expected[key] = {"ab": row["label"]} if labels else _both(row["results"][-1])
    assert found == {key: sides for key, sides in expected.items() if sides}
    assert len([key for key in found if not key[-1]]) == 281


def _both(results: dict[str, Any]) -> dict[str, int]:
    orders = {"ab": results["swap = False"]["winner"], "ba": results["swap = True"]["winner"]}
    return {order: int(winner) for order, winner in orders.items() if winner in ("1", "2")}
