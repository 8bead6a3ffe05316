"""The instances of a task: found, sorted, leafed through, and changed many at once."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.core.cache import cache
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from feedback.content import text_of
from feedback.exceptions import InvalidInput
from feedback.models import Annotator, Instance, Project, Task
from feedback.services import curating, disagreeing, finding, leafing

from ..access import in_project, task_from, user_of

PAGE = 50
MOST_COUNTED = 10_000
SAMPLE = 300
OF_THE_PAGE = ("task", "sort", "after", "before")
WORDS = {
    "q": "Text",
    "state": "State",
    "by": "Annotated by",
    "disagreement": "Disagreement",
    "external_id": "Id begins with",
    "source": "Source",
    "model": "Model",
    "language": "Language",
    "annotator": "Annotator",
    "comments": "Comments",
}
CHOICES = {
    "state": finding.STATES,
    "by": finding.ANNOTATED_BY,
    "disagreement": disagreeing.KINDS,
    "comments": finding.COMMENTED,
}


@require_GET
@in_project("view")
def instances(request: HttpRequest, project: Project) -> HttpResponse:
    task = task_from(request, project)
    context: dict[str, Any] = {
        "project": project,
        "active": "instances",
        "task": task,
        "tasks": project.tasks.order_by("name"),
        "wanted": request.GET,
        "may_review": "review" in request.permissions,  # type: ignore[attr-defined]
    }
    if task is None:
        return render(request, "instances/instances.html", context)
    context |= _form(request, task)
    try:
        context |= _page(request, task)
    except InvalidInput as error:
        told = [(name, sentence) for name, sentence in error.errors.items()]
        return render(request, "instances/instances.html", context | {"errors": told}, status=400)
    return render(request, "instances/instances.html", context)


def _page(request: HttpRequest, task: Task) -> dict[str, Any]:
    """One page of the instances that the filters find, and the addresses of its neighbours."""
    found, order = found_by(request.GET, task)
    before, after = _anchor(request, task, "before"), _anchor(request, task, "after")
    leaf = leafing.leaf(slim(found, order), order, PAGE, anchor=before or after, backwards=before is not None)
    rows = _whole(leaf.rows)
    total = found.order_by()[: MOST_COUNTED + 1].count()
    query = query_of(request.GET)
    return {
        "rows": [row_of(instance) for instance in rows],
        "total": min(total, MOST_COUNTED),
        "more_than_total": total > MOST_COUNTED,
        "query": query,
        "sort": request.GET.get("sort", ""),
        "narrowed": bool(_wanted(request.GET)),
        "chips": _chips(request.GET),
        "link": request.build_absolute_uri(f"{request.path}?{urlencode({'task': task.public_id})}&{query}".rstrip("&")),
        "previous_url": _address(task, query, before=rows[0].public_id) if rows and leaf.before else "",
        "next_url": _address(task, query, after=rows[-1].public_id) if rows and leaf.after else "",
    }


def slim(found: QuerySet[Instance], order: leafing.Order) -> QuerySet[Instance]:
    """What was found, by key and what it is sorted by alone: with texts in every row a sort would carry them all."""
    rows = finding.with_one_count(found, order.column) if order.counts else found
    return rows.only("task_id", *order.stored)


def _whole(rows: list[Instance]) -> list[Instance]:
    """The same instances in the same order, with everything a row of the list shows."""
    whole = finding.with_counts(Instance.objects.all()).in_bulk([row.pk for row in rows])
    return [whole[row.pk] for row in rows if row.pk in whole]


def found_by(asked: QueryDict, task: Task) -> tuple[QuerySet[Instance], leafing.Order]:
    """The instances that an address's filters find, and the order it asks for. Raises InvalidInput."""
    return finding.find(task.instances.all(), _wanted(asked), task), leafing.Order.of(asked.get("sort", ""))


def _wanted(asked: QueryDict) -> finding.Filters:
    return finding.parse(_plain(asked), also=OF_THE_PAGE)


def _plain(asked: QueryDict) -> dict[str, str]:
    return {name: str(value) for name, value in asked.items()}


def query_of(asked: QueryDict, *without: str) -> str:
    """The filters and the order of an address, as the query of another one."""
    left_out = {"task", "after", "before", *without}
    return urlencode([(name, value) for name, value in asked.items() if value and name not in left_out])


def _anchor(request: HttpRequest, task: Task, name: str) -> Instance | None:
    """The instance that the page continues from. Raises InvalidInput for one that is not the task's."""
    asked = request.GET.get(name)
    if not asked:
        return None
    try:
        wanted = UUID(asked)
    except ValueError:
        wanted = None
    anchor = finding.with_counts(task.instances.all()).filter(public_id=wanted).first() if wanted else None
    if anchor is None:
        raise InvalidInput(errors={name: "This is not an instance of this task."})
    return anchor


def _address(task: Task, query: str, **anchor: UUID) -> str:
    return "?" + "&".join(part for part in (urlencode({"task": task.public_id}), query, urlencode(anchor)) if part)


def _chips(asked: QueryDict) -> list[dict[str, str]]:
    """The filters in force, in words, each with the address without it."""
    return [
        {
            "words": f"{WORDS.get(name, name.removeprefix(finding.META))}: {CHOICES.get(name, {}).get(value, value)}",
            "url": _address_without(asked, name),
        }
        for name, value in _plain(asked).items()
        if value and name not in OF_THE_PAGE
    ]


def _address_without(asked: QueryDict, name: str) -> str:
    query = query_of(asked, name)
    return "?" + (f"task={asked['task']}&{query}" if asked.get("task") else query)


def row_of(instance: Any) -> dict[str, Any]:
    """An instance as a row of a list: what was asked, and the models that answered."""
    asked = next((m for m in reversed(instance.prompt) if m.get("role") == "user"), instance.prompt[-1])
    return {
        "instance": instance,
        "prompt": text_of(asked["content"])[:240],
        "models": ", ".join(str(one["model"]) for one in instance.completions if one.get("model")),
    }


def _form(request: HttpRequest, task: Task) -> dict[str, Any]:
    """What the filters can be set to."""
    names = "review" in request.permissions  # type: ignore[attr-defined]
    people = Annotator.objects.filter(project=task.project).order_by("kind", "name")[:500]
    seen = _seen(task)
    return {
        **{f"{name}_choices": choices for name, choices in CHOICES.items()},
        "annotators": [(str(one.public_id), one.name if names else one.pseudonym) for one in people],
        "seen": seen,
        "meta_fields": [
            {
                "name": f"{finding.META}{key}",
                "words": key,
                "values": values,
                "value": request.GET.get(f"meta.{key}", ""),
            }
            for key, values in seen["meta"].items()
        ],
        "more_open": any(request.GET.get(name) for name in _MORE) or any(n.startswith("meta.") for n in request.GET),
    }


_MORE = ("source", "model", "language", "annotator", "comments", "external_id")


def _seen(task: Task) -> dict[str, Any]:
    """Values to suggest, from the first and last instances: sources, models, languages, metadata with few values."""
    key = f"instances-seen:{task.pk}"
    found: dict[str, Any] | None = cache.get(key)
    if found is None:
        found = _sampled(task)
        cache.set(key, found, 60)
    return found


def _sampled(task: Task) -> dict[str, Any]:
    rows = task.instances.values_list("source", "completions", "meta", "lang")
    sample = [*rows.order_by("pk")[:SAMPLE], *rows.order_by("-pk")[:SAMPLE]]
    meta: dict[str, Counter[str]] = {}
    for _, _, told, _ in sample:
        for name, value in told.items():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, (str, int, float, bool)) and len(str(one)) <= 60:
                    meta.setdefault(name, Counter())[_as_asked(one)] += 1
    few = {name: sorted(values) for name, values in sorted(meta.items()) if 1 <= len(values) <= 40}
    return {
        "source": sorted({source for source, *_ in sample if source}),
        "model": sorted({str(one["model"]) for _, all_of, *_ in sample for one in all_of if one.get("model")})[:100],
        "language": sorted({lang for *_, lang in sample if lang}),
        "meta": dict(list(few.items())[:8]),
    }


def _as_asked(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@require_POST
@in_project("review")
def instances_change(request: HttpRequest, project: Project) -> HttpResponse:
    """Change the ticked instances; back to the list they were ticked in."""
    asked, action = request.POST.getlist("instance"), request.POST.get("action", "")
    try:
        ids = [UUID(one) for one in asked]
    except ValueError as error:
        raise InvalidInput(errors={"instance": "One of these is not the id of an instance."}) from error
    changed = curating.change(project, ids, action, actor=user_of(request))
    messages.success(request, _told(action, changed, len(set(ids))))
    back = QueryDict(request.POST.get("back", "")[:4000])
    return HttpResponseRedirect(f"{reverse('instances', args=[project.public_id])}?{back.urlencode()}")


def _told(action: str, changed: int, chosen: int) -> str:
    said = {
        "remove": ngettext("%d instance removed", "%d instances removed", changed),
        "restore": ngettext("%d instance restored", "%d instances restored", changed),
        "raise-priority": ngettext("%d instance is asked for sooner", "%d instances are asked for sooner", changed),
        "send-to-people": ngettext(
            "%d instance sent to one more person", "%d instances sent to one more person", changed
        ),
    }[action] % changed
    rest = chosen - changed
    return f"{said}. {ngettext('%d was so already.', '%d were so already.', rest) % rest}" if rest else f"{said}."
