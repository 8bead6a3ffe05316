"""Documents are part of the product: what they promise is checked."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.conftest import REPOSITORY


def test_every_setting_is_documented() -> None:
    code = (REPOSITORY / "annotate" / "settings.py").read_text(encoding="utf-8")
    read = set(re.findall(r"""env\.\w+\(\s*"([A-Z_]+)\"""", code)) | set(
        re.findall(r"""environ\.get\("([A-Z_]+)\"""", code)
    )
    text = (REPOSITORY / "docs" / "settings.md").read_text(encoding="utf-8")
    assert {name for name in read if f"`{name}`" not in text and name != "ENV_FILE"} == set()


def test_links_in_documents_lead_somewhere() -> None:
    for document in [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_a_production_start_names_every_missing_setting() -> None:
    start = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=REPOSITORY,
        env={"PATH": "", "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "ENV_FILE": "/dev/null"},
        capture_output=True,
        text=True,
    )
    assert start.returncode != 0
    assert "SECRET_KEY" in start.stderr
    assert "ALLOWED_HOSTS" in start.stderr


def test_a_well_known_secret_refuses_to_start() -> None:
    start = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=REPOSITORY,
        env={
            "PATH": "",
            "SECRET_KEY": "django-insecure-" + "a1b2c3d4" * 4,
            "ENV_FILE": "/dev/null",
        },
        capture_output=True,
        text=True,
    )
    assert start.returncode != 0
    assert "SECRET_KEY is too short or well known" in start.stderr


def test_every_objective_is_documented_as_the_catalogue_says() -> None:
    from training.objectives.catalogue import OBJECTIVES

    text = (REPOSITORY / "docs" / "objectives.md").read_text(encoding="utf-8")
    rows = [
        f"| `{one.name}` | {', '.join(one.consumes)} | {one.loss.replace('|', chr(92) + '|')} | {one.source} |"
        for one in OBJECTIVES.values()
    ]
    assert [row for row in text.splitlines() if row.startswith("| `")] == rows
