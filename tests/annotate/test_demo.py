"""The demo project shows every page something, and loading it twice makes one."""

from __future__ import annotations

import pytest

from annotate.demo import loading
from feedback.models import Annotation, DatasetState, Instance, Project, Source
from feedback.questions import parse_questions
from routing.models import PlanState, RoutingPlan
from tests.conftest import make_user
from training.models import Run


@pytest.mark.django_db(transaction=True)
def test_the_demo_turns_the_loop_once() -> None:
    owner = make_user("owner")
    project = loading.load(owner)
    assert loading.load(owner) == project
    assert Project.objects.count() == 1
    assert Instance.objects.count() == 60
    kinds = {question.kind for task in project.tasks.all() for question in parse_questions(task.questions)}
    assert kinds == {"preference", "ranking", "rating", "span", "critique", "choice"}
    sources = set(Annotation.objects.values_list("source", flat=True))
    assert sources == {Source.HUMAN, Source.JUDGE}
    assert RoutingPlan.objects.get().state == PlanState.READY
    version = project.tasks.get(name="Helpful and true").dataset_versions.get()
    assert (version.state, version.rows > 20) == (DatasetState.READY, True)
    assert Run.objects.get().version == version
