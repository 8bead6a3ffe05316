"""WMT MQM, in and out: every row of both tables comes back as it was."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from feedback.formats.mqm import read_mqm
from feedback.formats.records import ImportedInstance, ReadOptions, RowError
from tests.conftest import Cast, make_cast, shared_data
from tests.feedback.roundtrip import round_trip, tsv_rows

HEADER = "system\tdoc\tdoc_id\tseg_id\trater\tsource\ttarget\tcategory\tseverity\tcomment\n"
PLAIN = ("doc", "doc_id", "seg_id", "docSegId", "globalSegId")
Row = tuple[tuple[str, str], ...]


@pytest.fixture
def cast(transactional_db: None, settings: Any, tmp_path: Path) -> Cast:
    settings.FILES_DIR = tmp_path / "files"
    return make_cast(instances=0)


def marked(text: str, start: int, end: int) -> str:
    return f"{text[:start]}<v>{text[start:end]}</v>{text[end:]}"


def frozen_row(row: dict[str, Any], target: int, /, **told: Any) -> Row:
    """A row of the source's table; white space at the end of the source is lost in some of its rows."""
    completion = row["completions"][target]
    cells = {
        "system": completion["model"],
        "rater": "",
        "source": row["prompt"][0]["content"],
        "target": completion["content"],
        "comment": "",
        "metadata": "",
        **{key: row["meta"][key] for key in PLAIN if key in row["meta"]},
        **told,
    }
    return normal(cells)


def normal(cells: dict[str, Any]) -> Row:
    plain = {key: str(value) for key, value in cells.items() if value and key != "rater" and not key.startswith("#")}
    plain["source"] = plain["source"].rstrip()
    if "metadata" in plain:
        told = cells["metadata"]
        plain["metadata"] = json.dumps(json.loads(told) if isinstance(told, str) else told, sort_keys=True)
    return tuple(sorted(plain.items()))


def source_rows(row: dict[str, Any]) -> list[Row]:
    """The rows of the source that one raw row holds."""
    metadata = {held["span"]: held["metadata"] for held in row["details"].get("rows", []) if "span" in held}
    found, said = [], set()
    for number, span in enumerate(row["answers"]["errors"]["spans"]):
        on_source = span["target"] < 0
        target = _side_of(row, number) if on_source else span["target"]
        name = "source" if on_source else "target"
        text = row["prompt"][0]["content"] if on_source else row["completions"][target]["content"]
        category = "/".join(filter(None, (span["type"], span["subtype"])))
        told = {name: marked(text, span["start"], span["end"]), "category": category, "severity": span["severity"]}
        found.append(frozen_row(row, target, **told, comment=span["comment"], metadata=metadata.get(number, "")))
        said.add(target)
    for held in row["details"].get("rows", []):
        if "span" not in held:
            told = {key: held[key] for key in ("category", "severity", "comment", "metadata")}
            found.append(frozen_row(row, held["target"], **told))
            said.add(held["target"])
    silent = set(range(len(row["completions"]))) - said
    found += [frozen_row(row, target, category="No-error", severity="No-error") for target in silent]
    return found


def _side_of(row: dict[str, Any], number: int) -> int:
    """Whose error a mark in the source is: a pair keeps it with the metadata."""
    held = next((held for held in row["details"].get("rows", []) if held.get("span") == number), {"target": 0})
    return int(held["target"])


@pytest.mark.parametrize(
    ("name", "bad", "annotations", "instances", "spans"),
    [
        ("mqm_ted_ende.tsv.gz", [(6444, "target")], 7405, 7405, 4030),
        ("sxs_mqm_generalMT2023_ende.3ratingsPerSegment.tsv.gz", [], 55 * 8 * 3, 55 * 8, 4740),
    ],
)
def test_every_row_comes_back(
    cast: Cast, name: str, bad: list[tuple[int, str]], annotations: int, instances: int, spans: int
) -> None:
    file = shared_data("wmt-mqm-spans") / name
    trip = round_trip(cast, file, "spans", skip_bad_rows=True)
    expected = Counter(normal(row) for row in tsv_rows(file))
    assert [(error["line"], error["field"]) for error in trip.errors] == bad
    raw = trip.raw()
    found = Counter(row for one in raw for row in source_rows(one))
    missing, surplus = expected - found, found - expected
    assert [dict(row)["target"][-4:] for row in missing.elements()] == [" <v>?"[-4:]] * len(bad)  # a mark without end
    assert not surplus
    assert (len(raw), trip.batch.report["instances"]) == (annotations, instances)
    shaped = trip.of("spans")
    assert sum(len(row["feedback"]["errors"]) for row in shaped) == spans
    assert [row["annotator"] for row in shaped] == [row["annotator"] for row in raw]


def test_two_systems_that_were_shown_together_are_one_instance() -> None:
    records = list(read_mqm(shared_data("wmt-mqm-spans"), ReadOptions()))
    instances = [one for one in records if isinstance(one, ImportedInstance)]
    pairs = [[c["model"] for c in one.completions] for one in instances if len(one.completions) == 2]
    assert Counter(map(tuple, pairs)) == {
        ("GPT4-5shot_with_ONLINE-W", "ONLINE-W"): 55,
        ("GPT4-5shot_with_refA", "refA"): 55,
    }
    first = instances[0]
    assert (first.prompt[0]["lang"], first.completions[0]["lang"]) == ("en", "de")
    assert {(one.prompt[0].get("lang"), one.completions[0].get("lang")) for one in instances} == {("en", "de")}
    assert [len(one.annotations) for one in instances if len(one.completions) == 2] == [3] * 110


@pytest.mark.parametrize(
    ("cells", "field"),
    [
        (["s", "d", "1", "1", "r"], "line"),
        (["s", "d", "1", "1", "r", "a", "b <v>c", "Other", "Minor", ""], "target"),
        (["s", "d", "1", "1", "r", "a", "b <v></v>", "Other", "Minor", ""], "target"),
        (["s", "d", "1", "1", "r", "<v>a</v>", "<v>b</v>", "Other", "Minor", ""], "target"),
        (["s", "d", "1", "1", "r", "a", "b", "Other", "Minor", ""], "target"),
        (["s", "d", "1", "1", "r", "a", "b <v>c</v>", "Fluency/Rhythm", "Minor", ""], "category"),
        (["s", "d", "1", "1", "r", "a", "b <v>c</v>", "Other", "Deadly", ""], "severity"),
        (["s", "d", "1", "1", "", "a", "b", "No-error", "No-error", ""], "rater"),
        (["s", "d", "1", "1", "r", "another", "b c", "No-error", "No-error", ""], "source"),
    ],
)
def test_a_bad_row_is_named_and_leaves_the_others_in(tmp_path: Path, cells: list[str], field: str) -> None:
    good = ["s", "d", "1", "1", "r", 'say "a" in full', "b <v>c</v>", "Style/Awkward", "Major", "why"]
    if field != "source":
        cells = [cell if cell != "a" else good[5] for cell in cells]
    path = tmp_path / "mqm_news_ende.tsv"
    path.write_text(HEADER + "\t".join(good) + "\n" + "\t".join(cells) + "\n")
    first, *rest = sorted(read_mqm(path, ReadOptions()), key=lambda entry: isinstance(entry, RowError))
    assert isinstance(first, ImportedInstance)
    assert first.prompt[0]["content"] == 'say "a" in full'
    (span,) = first.annotations[0].answers["errors"]["spans"]
    assert ("b c"[span["start"] : span["end"]], span["severity"], span["comment"]) == ("c", "Major", "why")
    (error,) = rest
    assert isinstance(error, RowError)
    assert (error.line, error.field) == (3, field)
