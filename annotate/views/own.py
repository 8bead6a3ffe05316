"""A person's own answers and keys: the history, the way back from the reading room, the settings of both."""

from __future__ import annotations

from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from feedback.models import Membership, Project, User
from feedback.services import labelling, people, revisiting

from .. import keys as keymap
from ..access import in_project, user_of
from ..forms.abilities import LanguagesForm
from ..forms.keys import KeysForm
from . import summaries
from .label import own_task


@require_GET
@login_required
def history(request: HttpRequest) -> HttpResponse:
    """The person's annotations, of all tasks or one, a page at a time."""
    user = user_of(request)
    asked = {name: _id_in(request, name) for name in ("task", "before", "after")}
    leaf = revisiting.history(user, **asked)
    context = {
        "active": "label",
        "history": summaries.history_rows(leaf.rows, labelling.editable(user)),
        "tasks": revisiting.tasks_of(user),
        "task": str(asked["task"] or ""),
        "previous_url": _page(asked["task"], before=leaf.rows[0].public_id) if leaf.before and leaf.rows else "",
        "next_url": _page(asked["task"], after=leaf.rows[-1].public_id) if leaf.after and leaf.rows else "",
    }
    return render(request, "annotate/history.html", context)


def _page(task: UUID | None, **ends: UUID) -> str:
    return "?" + urlencode({"task": task, **ends} if task else ends)


def _id_in(request: HttpRequest, name: str) -> UUID | None:
    """An id of the address; a broken one is a 404."""
    try:
        return UUID(request.GET[name]) if request.GET.get(name) else None
    except ValueError as error:
        raise Http404 from error


@require_GET
@login_required
def beside(request: HttpRequest, task: UUID) -> HttpResponse:
    """Go to the person's answer before or after ``than``, of those that can still be changed; then to the work page."""
    user = user_of(request)
    row = own_task(user, task)
    found = revisiting.beside(user, row, _id_in(request, "than"), forward=request.GET.get("way") == "forward")
    if found is None:
        return redirect("work", task)
    return redirect(reverse("annotation-edit", args=[found.public_id]) + "?from=room")


@require_http_methods(["GET", "POST"])
@login_required
def keys(request: HttpRequest) -> HttpResponse:
    """Choose the keys of the reading room, or go back to the ones it comes with."""
    user = user_of(request)
    if "reset" in request.POST:
        return _keep(request, keymap.DEFAULTS)
    form = KeysForm(request.POST or None, initial=keymap.keys_of(user))
    if form.is_valid():
        return _keep(request, form.cleaned_data)
    context = {"active": "keyboard", "form": form}
    return render(request, "account/keys.html", context, status=422 if form.is_bound else 200)


def _keep(request: HttpRequest, chosen: dict[str, str]) -> HttpResponse:
    people.prefer(user_of(request), "keys", chosen)
    messages.success(request, gettext("Your keys are kept. They hold from the next instance on."))
    return redirect("keys")


@require_GET
@login_required
def languages(request: HttpRequest) -> HttpResponse:
    """The languages that the person says they read in each project they label in, and the skills named for them."""
    return _languages(request)


@require_POST
@in_project("label")
def languages_keep(request: HttpRequest, project: Project) -> HttpResponse:
    own = get_object_or_404(_own_memberships(user_of(request)), project=project)
    form = LanguagesForm(request.POST, of=own)
    if not form.is_valid():
        return _languages(request, (own, form))
    people.set_abilities(own, languages=form.cleaned_data["languages"], actor=own.user)
    messages.success(request, gettext("Your languages are kept. They hold from the next instance on."))
    return redirect("languages")


def _languages(request: HttpRequest, refused: tuple[Membership, LanguagesForm] | None = None) -> HttpResponse:
    rows = [
        {"member": own, "form": refused[1] if refused and refused[0] == own else LanguagesForm(of=own)}
        for own in _own_memberships(user_of(request))
    ]
    return render(request, "account/languages.html", {"active": "book", "rows": rows}, status=422 if refused else 200)


def _own_memberships(user: User) -> QuerySet[Membership]:
    rows = Membership.objects.filter(user=user, role__in=people.LABEL_ROLES)
    return rows.select_related("project", "user").order_by("project__name", "pk")
