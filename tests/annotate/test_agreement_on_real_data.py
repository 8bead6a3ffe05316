"""The dashboard's agreement on two public sets equals what their own descriptions state."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command

from feedback.models import Task
from feedback.services import people, quality
from tests.conftest import make_user, shared_data


def imported(name: str, settings: Any) -> Task:
    folder = shared_data(name)
    settings.IMPORT_ROOTS = [folder.parent]
    project = people.create_project(name, owner=make_user("importer"))
    call_command("import_instances", str(project.public_id), str(folder), name=name, verbosity=0)
    return Task.objects.get(project=project)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_mtbench_agreement_is_as_described(settings: Any) -> None:
    between, judge = quality.agreement_of(imported("mtbench-human-gpt4", settings))
    assert (round(between.value, 3), between.pairs) == (0.666, 1358)
    assert (round(judge.value, 3), judge.pairs) == (0.652, 1969)
    assert between.low < 0.666 < between.high


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_vicuna_agreement_between_people_is_as_described(settings: Any) -> None:
    found = quality.agreement_of(imported("vicuna80-human-judges", settings))
    assert found[0].who == ("people", "people")
    assert (round(found[0].value, 3), found[0].pairs) == (0.513, 4704)
    # six judges; GPT-4 is asked in both orders here, so a verdict that flips is neither, unlike in the description
    assert len(found) == 7
