"""The real sets: what the readers make of them gives the figures that their READMEs state."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from feedback.aggregation import PairAgreement, Votes, cross_agreement, pair_agreement
from feedback.answers import check_answers
from feedback.content import Shown
from feedback.formats.mtbench import read_mtbench
from feedback.formats.qa_feedback import ranking_of
from feedback.formats.records import BadRow, ImportedInstance, ReadOptions, RecordedAnnotation, RowError
from feedback.formats.sources import SOURCES, detect_source
from feedback.questions import parse_questions, strength
from tests.conftest import shared_data

FOLDERS = {
    "mtbench": ("mtbench-human-gpt4", 1440),
    "vicuna80": ("vicuna80-human-judges", 1792),
    "qa_feedback": ("qa-feedback-finegrained", 320),
    "oasst": ("oasst-ranked-trees", 122),
    "ilf": ("ilf-code-feedback", 120),
    "llmbar": ("llmbar-judges", 281),
}


def instances_of(name: str) -> list[ImportedInstance]:
    records = list(SOURCES[name].read(shared_data(FOLDERS[name][0]), ReadOptions()))
    assert [record for record in records if isinstance(record, RowError)] == []
    return [record for record in records if isinstance(record, ImportedInstance)]


def side(annotation: RecordedAnnotation) -> int | None:
    """0 A, 1 tie, 2 B; None for an abstention."""
    if not annotation.answers:
        return None
    signed = strength(annotation.answers["overall"]["value"], 5)
    return None if signed is None else (signed > 0) - (signed < 0) + 1


def votes_of(instances: list[ImportedInstance], chosen: Iterable[tuple[int, int]]) -> Votes:
    pairs = list(chosen)
    item, label = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return Votes.of(item, [0] * len(item), label, n_items=len(instances), n_labels=3)


def human_votes(instances: list[ImportedInstance]) -> Votes:
    pairs = ((i, side(a)) for i, one in enumerate(instances) for a in one.annotations if a.source == "human")
    return votes_of(instances, [(i, label) for i, label in pairs if label is not None])


def rounded(found: PairAgreement) -> tuple[float, int]:
    assert found.agreement is not None
    return round(found.agreement, 3), found.pairs


@pytest.mark.parametrize("name", list(FOLDERS))
def test_every_record_fits_the_suggested_questions(name: str) -> None:
    folder, count = FOLDERS[name]
    path = shared_data(folder)
    assert detect_source(path) is SOURCES[name]
    questions = parse_questions(SOURCES[name].questions(ReadOptions()))
    instances = instances_of(name)
    assert len(instances) == len({instance.external_id for instance in instances}) == count
    for instance in instances:
        texts = [completion["content"] or "" for completion in instance.completions]
        for annotation in instance.annotations:
            clean = check_answers(questions, annotation.answers, Shown(texts), partial=True)
            assert clean == annotation.answers
        keys = [(a.annotator, a.order) for a in instance.annotations]
        assert len(keys) == len(set(keys))


def test_mtbench_agreement() -> None:
    instances = instances_of("mtbench")
    people = human_votes(instances)
    assert rounded(pair_agreement(people)) == (0.666, 1358)
    assert len(people.item) == 1969
    assert len(set(people.item.tolist())) == 1078
    merged = []
    for i, instance in enumerate(instances):
        orders = {a.order: side(a) for a in instance.annotations if a.source == "judge"}
        assert set(orders) == {"ab", "ba"}
        assert instance.meta["judge_orders"] == "reconstructed"
        label = orders["ab"] if orders["ab"] == orders["ba"] else 1
        merged.append((i, label if label is not None else 1))
    assert rounded(cross_agreement(people, votes_of(instances, merged))) == (0.652, 1969)
    flipped = [1 for one in instances if len({side(a) for a in one.annotations if a.source == "judge"}) == 2]
    assert len(flipped) == 235
    annotators = {a.annotator for one in instances for a in one.annotations if a.source == "human"}
    assert len(annotators) == 64


def test_mtbench_second_turn_shows_the_whole_conversation() -> None:
    by_id = {instance.external_id: instance for instance in instances_of("mtbench")}
    first, second = (by_id[f"mtbench-81-alpaca-13b-gpt-4-turn{turn}"] for turn in (1, 2))
    assert first.prompt == second.prompt
    assert first.meta["turn"] == 1
    for one, other in zip(first.completions, second.completions, strict=True):
        assert (other["content"] or "").startswith(f"{one['content']}\n\n**User:** Rewrite your previous response.")
    assert [completion["model"] for completion in first.completions] == ["alpaca-13b", "gpt-4"]


def test_mtbench_can_leave_out_what_no_person_saw() -> None:
    records = list(read_mtbench(shared_data("mtbench-human-gpt4"), ReadOptions(humans_only=True)))
    assert len(records) == 1078


def test_a_damaged_mtbench_folder_names_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "model_answer").mkdir()
    (tmp_path / "model_answer" / "m.jsonl").write_text('{"question_id": 1, "model_id": "m", "choices": []}\n')
    (tmp_path / "question.jsonl").write_text('{"question_id": 1, "turns": ["a", "b"]}\n')
    vote = '{"judge": "j", "model_a": "m", "model_b": "n", "question_id": 1, "turn": 1, "winner": "%s"}\n'
    (tmp_path / "human.jsonl").write_text(vote % "model_a" + vote % "maybe" + "{}\n")
    errors = [r for r in SOURCES["mtbench"].read(tmp_path, ReadOptions()) if isinstance(r, RowError)]
    assert [(e.line, e.field) for e in errors] == [
        (2, "human.jsonl:winner"),
        (3, "human.jsonl:judge"),
        (1, "m.jsonl:choices"),
        (1, "model_answer"),
    ]


def test_vicuna_agreement() -> None:
    instances = instances_of("vicuna80")
    people = human_votes(instances)
    assert rounded(pair_agreement(people)) == (0.513, 4704)
    labels = Counter(sum(a.source == "human" for a in one.annotations) for one in instances)
    assert labels == {3: 1568, 1: 224}
    judged = [{a.order: side(a) for a in one.annotations if a.annotator == "gpt-4"} for one in instances]
    same = total = kept = 0
    for one, verdicts in zip(instances, judged, strict=True):
        said = [side(a) for a in one.annotations if a.source == "human"]
        if len(said) < 3:
            continue
        total += 3
        same += sum(label == verdicts["ab"] for label in said)
        kept += verdicts["ab"] == verdicts["ba"]
    assert (round(same / total, 3), total) == (0.533, 4704)
    assert round(kept / 1568, 3) == 0.588
    judges = {a.annotator for one in instances for a in one.annotations if a.source == "judge"}
    assert judges == {"gpt-4", "gpt-3.5", "gpt-3.5-second-run", "claude", "bard", "vicuna-13b"}
    assert all(one.meta["anonymous_annotators"] for one in instances)
    assert all(a.rationale for one in instances for a in one.annotations if a.annotator == "gpt-4")


def test_vicuna_abstentions_are_kept_without_an_answer() -> None:
    empty = [a for one in instances_of("vicuna80") for a in one.annotations if not a.answers]
    assert Counter((a.annotator, a.source) for a in empty) == {("gpt-4", "judge"): 4}


def test_qa_feedback_counts() -> None:
    instances = instances_of("qa_feedback")
    answers = [one.annotations[0].answers for one in instances]
    assert sum(len(a["errors"]["spans"]) for a in answers) == 887
    assert sum(len(a["errors"]["missing"]) for a in answers) == 484
    assert sum(bool(a["critique"]["refinements"][0]) for a in answers) == 310
    strict = kept = 0
    for one, answer in zip(instances, answers, strict=True):
        place = {i: rank for rank, group in enumerate(answer["ranking"]["groups"]) for i in group}
        pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
        for (i, j), value in zip(pairs, one.meta["pairwise"], strict=True):
            strict += value != 0
            kept += (value == 1 and place[i] < place[j]) or (value == 2 and place[j] < place[i])
    assert strict == kept == 1700
    passages = instances[0].meta["passages"]
    assert passages[0]["title"] == "Bloom (Troye Sivan album)"


def test_a_ranking_from_pairwise_preferences() -> None:
    assert ranking_of([0, 0, 0, 0, 0, 0]) == [[0, 1, 2, 3]]
    assert ranking_of([2, 2, 2, 2, 2, 2]) == [[3], [2], [1], [0]]
    assert ranking_of([1, 1, 1, 0, 1, 1]) == [[0], [1, 2], [3]]
    for bad in ([1] * 5, [3] * 6, None):
        with pytest.raises(BadRow, match="six values"):
            ranking_of(bad)


@pytest.mark.parametrize(
    "junk", ["{}", "[]", '{"question_id": [1]}', '{"question_id": 1, "text": 3, "score": [2]}', "x"]
)
def test_junk_in_any_file_of_a_known_folder_is_an_error_not_a_crash(tmp_path: Path, junk: str) -> None:
    for folder, _ in FOLDERS.values():
        copy = tmp_path / folder
        for path in shared_data(folder).rglob("*.json*"):
            target = copy / path.relative_to(shared_data(folder)).with_name(path.name.removesuffix(".gz"))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(f"[{junk}]" if target.suffix == ".json" else f"{junk}\n")
    for name, (folder, _) in FOLDERS.items():
        records = list(SOURCES[name].read(tmp_path / folder, ReadOptions()))
        assert records
        assert all(isinstance(record, RowError) for record in records)


def test_sets_with_bad_rows_of_their_own_are_recognised() -> None:
    for name, folder, bad in (("wmt_mqm", "wmt-mqm-spans", 1), ("feedbackqa", "feedbackqa-critiques", 5)):
        path = shared_data(folder)
        assert detect_source(path) is SOURCES[name]
        records = list(SOURCES[name].read(path, ReadOptions()))
        assert sum(isinstance(record, RowError) for record in records) == bad


def test_a_bad_row_of_each_reader_names_its_field(tmp_path: Path) -> None:
    message = {"message_id": "m", "text": "Hi", "role": "prompter", "replies": []}
    reply = {"message_id": "r", "text": "Yes", "role": "assistant", "replies": []}
    tree = {"message_tree_id": "t", "prompt": message}
    bad_rank = {**message, "replies": [{**reply, "rank": 0}, {**reply, "rank": "first"}]}
    many = {**message, "replies": [{**reply, "rank": n} for n in range(13)]}
    program = dict.fromkeys(("prompt", "Feedback", "original_model_completion", "unedited_annotator_completion"), "x")
    cases: list[tuple[str, Any, str]] = [
        ("oasst", {**tree, "prompt": {**message, "role": "king"}}, "prompt"),
        ("oasst", {**tree, "prompt": bad_rank}, "prompt.replies"),
        ("oasst", {**tree, "prompt": many}, "replies"),
        ("oasst", {**tree, "prompt": {**message, "text": " "}}, "prompt.text"),
        ("ilf", {"task_id": 1, **program, "Feedback": ""}, "Feedback"),
        ("ilf", {"task_id": [1], **program}, "task_id"),
        ("ilf", {"task_id": 1, **program, "worker_id": 3.5}, "worker_id"),
    ]
    for name, row, field in cases:
        path = tmp_path / "rows.jsonl"
        path.write_text(json.dumps(row) + "\n")
        assert [getattr(one, "field", one) for one in SOURCES[name].read(path, ReadOptions())] == [field]


def test_a_bad_row_of_feedbackqa_leaves_the_others_in(tmp_path: Path) -> None:
    reference = {"page_title": "P", "section_headers": ["H"], "section_content": "Text"}
    good = {"question": "Q?", "passage": {"reference": reference}, "feedback": ["f"], "rating": ["Bad"]}
    rows = [
        {**good, "rating": ["Fine"]},
        {**good, "feedback": []},
        {**good, "question": "\u0080"},
        {**good, "passage": {"reference": {**reference, "section_headers": "H"}}},
        good,
    ]
    path = tmp_path / "feedback_x.json"
    path.write_text(json.dumps(rows))
    *errors, last = SOURCES["feedbackqa"].read(path, ReadOptions())
    assert [(one.line, one.field) for one in errors if isinstance(one, RowError)] == [
        (1, "x:rating.0"),
        (2, "x:feedback"),
        (3, "x:question"),
        (4, "x:passage.reference.section_headers"),
    ]
    assert isinstance(last, ImportedInstance)
    assert last.annotations[0].answers["rating"] == {"ratings": {"quality": [1]}}
