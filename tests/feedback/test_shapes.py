"""Every export shape: its rows from known annotations, which tasks produce it, and that ``datasets`` loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import feedback.tasks  # noqa: F401 - registers the jobs
from feedback.exceptions import InvalidInput
from feedback.formats.shape_table import SHAPES, fitting_shapes
from feedback.models import Annotator, DatasetVersion, Instance
from feedback.questions import parse_questions
from feedback.refinements import asks_refinement
from feedback.services import datasets, jobs, tasks
from feedback.services.recorded import Said
from feedback.services.recording import Recorded, record
from feedback.services.shaping import ROWS
from tests.conftest import Cast, make_cast
from tests.feedback.frozen import rows_of

pytestmark = pytest.mark.django_db(transaction=True)

PREFERENCE = {"kind": "preference", "name": "overall", "title": "Which is better?"}
RANKING = {"kind": "ranking", "name": "order", "title": "Rank"}
SPANS = {
    "kind": "span",
    "name": "errors",
    "title": "Mark",
    "types": [{"name": "Wrong", "subtypes": ["Number"]}],
    "severities": {"Major": 5.0},
    "allow_missing": True,
    "on_prompt": True,
}
CRITIQUE = {"kind": "critique", "name": "critique", "title": "Say", "ask_refinement": True}
RATING = {
    "kind": "rating",
    "name": "quality",
    "title": "Rate",
    "required": False,
    "scales": [{"name": "helpful", "weight": 3}, {"name": "true", "low": 0, "high": 10}],
}
WHOLE = {
    "kind": "rating",
    "name": "whole",
    "title": "Rate the instance",
    "per": "instance",
    "scales": [{"name": "hard"}],
}
CHOICE = {"kind": "choice", "name": "topic", "title": "Topic", "options": ["a", "b"]}
ASKED = [RANKING, RATING, WHOLE, SPANS, CRITIQUE]
# 2 before 0 and 1, which are even; a wrong number in 2; 1 criticised and 0 refined
ANSWERS: dict[str, dict[str, Any]] = {
    "order": {"groups": [[2], [0, 1]], "unacceptable": []},
    "quality": {"ratings": {"helpful": [5, None, 3], "true": [10, None, None]}},
    "whole": {"ratings": {"hard": [2]}},
    "errors": {
        "spans": [{"target": 2, "start": 6, "end": 7, "type": "Wrong", "subtype": "Number", "severity": "Major"}],
        "missing": [{"target": 0, "text": "Missing-Answer", "passage": 0, "sentences": [-1, 2]}],
    },
    "critique": {"critiques": ["", "Too short.", ""], "refinements": ["Better 0", None, None]},
}


@pytest.fixture(autouse=True)
def _files(settings: Any, tmp_path: Path) -> None:
    settings.FILES_DIR = tmp_path / "files"


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast(instances=0)


def answered(cast: Cast, answers: dict[str, Any] = ANSWERS, questions: list[dict[str, Any]] = ASKED) -> Any:
    """A task of ranking, ratings, spans and critique over one instance of three completions, annotated once."""
    name = f"Task {cast.project.tasks.count()}"
    task = tasks.create_task(cast.project, name, questions, actor=cast.owner)
    instance = Instance.objects.create(
        task=task,
        external_id="x",
        prompt=[{"role": "user", "content": "How many?"}],
        completions=[{"content": f"There {n}", "model": f"m{n}"} for n in range(3)],
        prompt_hash="0" * 64,
        meta={"topic": "numbers"},
    )
    annotator = Annotator.objects.get_or_create(project=cast.project, kind="human", name="ann")[0]
    said = {question["name"]: answers[question["name"]] for question in questions}
    record(task, [Recorded(instance, annotator, Said("ann", "human", said, {"seconds": 9}))])
    return task


def frozen(cast: Cast, task: Any, *shapes: str, **spec: Any) -> DatasetVersion:
    wanted = {"shapes": shapes, "formats": ["jsonl", "parquet"], "splits": [1.0, 0.0, 0.0], **spec}
    wanted.setdefault("refinements", "chosen" if asks_refinement(task.parsed_questions) else "leave-out")
    version = datasets.create_version(task, wanted, actor=cast.manager)
    job = datasets.job_of(version)
    assert job is not None
    jobs.run(job.pk)
    version.refresh_from_db()
    assert version.state == "ready", version.error
    return version


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


PROMPT = [{"role": "user", "content": "How many?"}]


def test_every_shape_has_its_words_and_its_rows() -> None:
    assert list(SHAPES) == list(ROWS)
    for questions in ([RANKING], ASKED):
        for name in fitting_shapes(parse_questions(questions)):
            assert SHAPES[name].of(parse_questions(questions)).name == name


@pytest.mark.parametrize(
    ("questions", "left_out"),
    [
        ([PREFERENCE], {"ranked", "ratings", "spans", "critiques"}),
        ([RANKING], {"ratings", "spans", "critiques"}),
        ([RATING], set(SHAPES) - {"ratings", "raw"}),
        ([CHOICE], set(SHAPES) - {"raw"}),
        ([CRITIQUE], {"ranked", "ratings", "spans"}),
        ([{**CRITIQUE, "ask_refinement": False}], set(SHAPES) - {"critiques", "raw"}),
        ([SPANS], set(SHAPES) - {"spans", "raw"}),
    ],
)
def test_questions_produce_only_their_shapes(questions: list[dict[str, Any]], left_out: set[str]) -> None:
    assert set(fitting_shapes(parse_questions(questions))) == set(SHAPES) - left_out


def test_a_shape_that_the_questions_do_not_produce_is_refused(cast: Cast) -> None:
    with pytest.raises(InvalidInput) as refused:
        datasets.create_version(cast.task, {"shapes": ["spans"]}, actor=cast.manager)
    assert refused.value.errors == {"shapes": "The shape spans needs a task that asks spans."}
    task = tasks.create_task(cast.project, "Critique", [CRITIQUE], actor=cast.owner)
    with pytest.raises(InvalidInput) as refused:
        datasets.create_version(task, {"shapes": ["preference"]}, actor=cast.manager)
    assert "refinements that count as chosen" in refused.value.errors["shapes"]


def test_whole_chats_of_a_pair(cast: Cast) -> None:
    version = frozen(cast, answered(cast), "preference-implicit", refinements="leave-out")
    rows = rows_of(version, "preference-implicit")
    assert [row["chosen"] for row in rows] == [[*PROMPT, *chat("There 2")]] * 2
    assert [row["rejected"] for row in rows] == [[*PROMPT, *chat(f"There {n}")] for n in (0, 1)]
    assert "prompt" not in rows[0]


def test_unpaired_rows_say_which_completions_win_more_than_they_lose(cast: Cast) -> None:
    rows = rows_of(frozen(cast, answered(cast), "unpaired"), "unpaired")
    told = [(row["completion"], row["label"], row["wins"], row["losses"]) for row in rows]
    assert told == [
        (chat("There 0"), False, 0, 2),
        (chat("There 1"), False, 0, 1),
        (chat("There 2"), True, 2, 0),
        (chat("Better 0"), True, 1, 0),
    ]


@pytest.mark.parametrize("shape", ["prompt-completion", "language-modelling"])
def test_what_to_learn_is_the_preferred_completion_and_each_refinement(cast: Cast, shape: str) -> None:
    rows = rows_of(frozen(cast, answered(cast), shape), shape)
    assert [row["origin"] for row in rows] == ["preferred", "refinement"]
    if shape == "language-modelling":
        assert [row["messages"] for row in rows] == [[*PROMPT, *chat(text)] for text in ("There 2", "Better 0")]
    else:
        assert [(row["prompt"], row["completion"]) for row in rows] == [
            (PROMPT, chat(text)) for text in ("There 2", "Better 0")
        ]


def test_a_shared_first_place_prefers_nothing(cast: Cast) -> None:
    answers = ANSWERS | {"order": {"groups": [[1, 2], [0]], "unacceptable": []}}
    rows = rows_of(frozen(cast, answered(cast, answers), "prompt-completion"), "prompt-completion")
    assert [row["origin"] for row in rows] == ["refinement"]


def test_a_ranking_is_a_row_of_completions_with_their_ranks(cast: Cast) -> None:
    (row,) = rows_of(frozen(cast, answered(cast), "ranked"), "ranked")
    assert (row["prompt"], row["completions"]) == (PROMPT, ["There 0", "There 1", "There 2"])
    assert (row["models"], row["ranks"]) == (["m0", "m1", "m2"], [2, 2, 1])
    partial = ANSWERS | {"order": {"groups": [[2], [0]], "unacceptable": [1]}}
    task = answered(cast, partial, [{**RANKING, "allow_partial": True}])
    (row,) = rows_of(frozen(cast, task, "ranked"), "ranked")
    assert (row["ranks"], row["unacceptable"]) == ([2, None, 1], [False, True, False])


def test_ratings_are_a_row_for_each_completion_that_has_a_value(cast: Cast) -> None:
    rows = rows_of(frozen(cast, answered(cast), "ratings"), "ratings")
    told = [(row["asked"], row["completion"], row["model"], row["score"]) for row in rows]
    assert told == [
        ("quality", "There 0", "m0", 1.0),  # (3 · 4/4 + 1 · 10/10) / 4
        ("quality", "There 2", "m2", 0.5),  # 3 · 2/4 / 3
        ("whole", None, None, 0.25),
    ]
    assert rows[0]["ratings"] == [
        {"scale": "helpful", "value": 5, "low": 1, "high": 5, "weight": 3.0},
        {"scale": "true", "value": 10, "low": 0, "high": 10, "weight": 1.0},
    ]
    assert len({row["id"] for row in rows}) == 3


def test_the_pairs_of_a_ranking_follow_the_rule_and_the_card_says_it(cast: Cast) -> None:
    four = {"order": {"groups": [[2], [1], [0]], "unacceptable": []}}
    task = answered(cast, four, [RANKING])
    for rule, wanted in (("all", 3), ("adjacent", 2), ("best-worst", 1)):
        version = frozen(cast, task, "preference", pairs=rule)
        told = {(row["chosen"], row["rejected"]) for row in rows_of(version, "preference")}
        assert len(told) == wanted
        assert (("There 2", "There 0") in told) == (rule != "adjacent")
        assert any(note.startswith("A ranking gives a pair for ") for note in version.card["notes"])


def test_spans_are_named_as_in_fine_grained_rlhf(cast: Cast) -> None:
    (row,) = rows_of(frozen(cast, answered(cast), "spans"), "spans")
    assert row["question"] == "How many?"
    assert [each["content"] for each in row["completions"]] == ["There 0", "There 1", "There 2"]
    (error,) = row["feedback"]["errors"]
    assert error == {
        "target": 2,
        "start": 6,
        "end": 7,
        "error type": "Wrong",
        "subtype": "Number",
        "severity": "Major",
        "explanation": "",
        "confidence": None,
    }
    assert row["feedback"]["missing-info"] == [
        {
            "target": 0,
            "error type": "Missing-Answer",
            "passage_id": 1,
            "sentence_id": [0, 3],
            "start": None,
            "end": None,
        }
    ]
    assert row["feedback"]["corrected-prediction"] == "Better 0"


def test_critiques_leave_out_completions_of_which_nothing_is_said(cast: Cast) -> None:
    rows = rows_of(frozen(cast, answered(cast), "critiques"), "critiques")
    told = [(row["completion"], row["model"], row["critique"], row["refinement"]) for row in rows]
    assert told == [("There 0", "m0", "", "Better 0"), ("There 1", "m1", "Too short.", None)]


def test_raw_keeps_what_a_source_added(cast: Cast) -> None:
    (row,) = rows_of(frozen(cast, answered(cast), "raw"), "raw")
    assert (row["details"], row["meta"]) == ('{"seconds": 9}', '{"topic": "numbers"}')


def test_the_card_of_a_task_that_compares_nothing(cast: Cast) -> None:
    task = tasks.create_task(cast.project, "Spans", [SPANS], actor=cast.owner)
    instance = Instance.objects.create(
        task=task, external_id="x", prompt=PROMPT, completions=[{"content": "There 0"}], prompt_hash="0" * 64
    )
    annotator = Annotator.objects.create(project=cast.project, kind="human", name="ann")
    record(task, [Recorded(instance, annotator, Said("ann", "human", {"errors": {"spans": [], "missing": []}}))])
    card = frozen(cast, task, "spans").card
    assert card["aggregation"] == "none: nothing is compared, every annotation stands for itself"
    assert (card["human_share"], card["counts"]["not_a_preference"], card["agreement"]) == (1.0, 0, [])
    assert not any("pair" in note for note in card["notes"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("file_format", ["parquet", "jsonl"])
def test_the_datasets_library_loads_every_shape(
    cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_format: str
) -> None:
    library = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    names = fitting_shapes(parse_questions(ASKED))
    version = frozen(cast, answered(cast), *names)
    for name in names:
        folder = datasets.folder_of(version) / name / file_format
        loaded = library.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / name))
        expected = rows_of(version, name)
        assert loaded.num_rows == len(expected) > 0
        if file_format == "parquet":
            shape = SHAPES[name].of(parse_questions(ASKED))
            assert loaded.column_names == shape.schema.names
        assert [row["id"] for row in loaded] == [row["id"] for row in expected]
