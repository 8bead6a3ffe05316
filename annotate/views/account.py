"""A person's own account: tokens, and the links that let a person in."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, logout
from django.contrib.auth.decorators import login_required
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST
from django.views.i18n import set_language

from feedback.exceptions import InvalidInput, WrongState
from feedback.models import Invitation, LoginLink, Membership, User
from feedback.services import people
from feedback.services.people import PERMISSIONS, VIEW

from ..access import user_of
from ..forms.people import TokenForm, WelcomeForm

BACKEND = "annotate.sessions.Backend"


@never_cache
@require_http_methods(["GET", "POST"])
@login_required
def tokens(request: HttpRequest) -> HttpResponse:
    """List the person's tokens; make one and show its secret, this one time."""
    user = user_of(request)
    form = TokenForm(request.POST or None)
    secret, status = "", 422 if form.is_bound else 200
    if form.is_valid():
        secret = people.make_token(user, **form.cleaned_data)[1]
        form, status = TokenForm(), 201
    context = {
        "active": "lock",
        "tokens": user.api_tokens.order_by("-created_at"),
        "now": timezone.now(),
        "form": form,
        "secret": secret,
    }
    return render(request, "tokens/tokens.html", context, status=status)


@require_POST
def language(request: HttpRequest) -> HttpResponse:
    """Choose the language: for this browser, and for whoever is logged in wherever they are."""
    code = request.POST.get("language", "")
    if code not in dict(settings.LANGUAGES):
        raise InvalidInput(errors={"language": f"Choose one of: {', '.join(dict(settings.LANGUAGES))}."})
    if request.user.is_authenticated:
        people.prefer(user_of(request), "language", code)
    return set_language(request)


@require_POST
@login_required
def token_revoke(request: HttpRequest, token: UUID) -> HttpResponse:
    row = get_object_or_404(user_of(request).api_tokens, public_id=token)
    people.revoke_token(row, actor=user_of(request))
    messages.success(request, f"{row.name} is revoked. What uses it is refused from now on.")
    return redirect("tokens")


@never_cache
@require_http_methods(["GET", "POST"])
def login_link(request: HttpRequest, secret: str) -> HttpResponse:
    """A one-time login. Opening it shows a button, so that a mail scanner's or chat's preview does not use it up."""
    if request.method == "GET":
        return render(request, "tokens/login_link.html")
    user = LoginLink.use(secret)
    if user is None:
        return render(request, "tokens/login_link.html", {"refused": True}, status=410)
    login(request, user, backend=BACKEND)
    return redirect("projects")


@never_cache
@require_http_methods(["GET", "POST"])
@sensitive_variables("secret")
def invitation(request: HttpRequest, secret: str) -> HttpResponse:
    """Accept an invitation: a new person sets name and password, a known one logs in first."""
    found = people.invitation(secret)
    if found is None:
        return render(request, "people/invitation.html", {"gone": True}, status=410)
    invited = User.objects.filter(email__iexact=found.email).first()
    if invited is None:
        return _welcome(request, found)
    if request.user != invited:
        return _switch(request, found)
    if request.method == "POST":
        return _enter(people.accept(found, invited))
    return render(request, "people/invitation.html", {"invitation": found})


def _welcome(request: HttpRequest, found: Invitation) -> HttpResponse:
    """Somebody without an account: the invitation itself shows that the address is theirs."""
    if request.user.is_authenticated:
        return _switch(request, found)
    form = WelcomeForm(request.POST or None)
    if not form.is_valid():
        context = {"invitation": found, "form": form}
        return render(request, "people/invitation.html", context, status=422 if form.is_bound else 200)
    try:
        with transaction.atomic():
            user = User.objects.create_user(found.email, form.cleaned_data["password"], name=form.cleaned_data["name"])
            membership = people.accept(found, user)
    except IntegrityError as error:  # the form was sent twice at once
        raise WrongState("This invitation was just used. Sign in with the password you chose.") from error
    login(request, user, backend=BACKEND)
    return _enter(membership)


def _switch(request: HttpRequest, found: Invitation) -> HttpResponse:
    """The person has to be logged in as the invited one; a POST by somebody else logs that one out."""
    if request.method == "POST" and request.user.is_authenticated:
        logout(request)
        return redirect(request.path)
    if request.method == "POST":
        raise WrongState("Sign in with the invited address first.")
    return render(request, "people/invitation.html", {"invitation": found, "other": True})


def _enter(membership: Membership) -> HttpResponse:
    if VIEW not in PERMISSIONS[membership.role]:
        return redirect("queue")
    return redirect("overview", membership.project.public_id)
