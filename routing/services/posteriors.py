"""The label of an instance that judge and people both annotated: the posterior of both."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from feedback.models import PreferenceMix
from feedback.services.datasets import PLAN
from routing.ppm.adaptive import Progress

from ..models import RoutingPlan
from . import learning


def posterior_of(mix: PreferenceMix) -> Mapping[str, float] | None:
    """P(the first completion is better) by public id, where a person's label is; ``None`` unless a plan made the mix.

    Elsewhere the judge's verdict stays as it is: a belief imputed from other instances errs the same way everywhere,
    and a reward model learns that (``docs/decisions.md``).
    """
    if not mix.origin.startswith(PLAN):
        return None
    plan = RoutingPlan.objects.select_related("task", "judge").filter(public_id=mix.origin.removeprefix(PLAN)).first()
    if plan is None:
        return None
    known = learning.load_known(plan.task, plan.judge)
    last = plan.rounds.order_by("-number").first()
    learner = learning.learner_of(known, Progress(**last.progress) if last else None)
    p_a = learning.posterior(known, learner)
    return {known.evidence.public_ids[row]: float(p_a[row]) for row in map(int, np.unique(learner.labelled))}
