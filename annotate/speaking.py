"""What the people of a thread are called: by name for who reviews, else by role and number, so that nobody is known."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import Q
from django.utils.translation import gettext

from feedback.models import Comment, Instance, Membership, Project, User
from feedback.services.people import PERMISSIONS, REVIEW, VIEW, may

Naming = Callable[[User], str]


def sees_names(reader: User, project: Project) -> bool:
    return may(reader, project, REVIEW)


def naming(instance: Instance, reader: User, project: Project) -> Naming:
    """How the thread of ``instance`` names people to ``reader``.

    Numbers follow who spoke first, whether the words still stand or not, so that nobody's number changes.
    """
    if sees_names(reader, project):
        return str
    spoke = dict.fromkeys(Comment.objects.filter(instance=instance).order_by("pk").values_list("author_id", flat=True))
    number = {pk: place for place, pk in enumerate(spoke, start=1)}
    resolved = Comment.objects.filter(instance=instance).values("resolved_by")
    people = Membership.objects.filter(Q(user__in=number) | Q(user__in=resolved), project=project)
    roles = dict(people.values_list("user_id", "role"))

    def name(user: User) -> str:
        if user.pk == reader.pk:
            return gettext("You")
        n = number.get(user.pk)
        if VIEW in PERMISSIONS.get(roles.get(user.pk, ""), ()):
            return gettext("Reviewer %(n)s") % {"n": n} if n else gettext("Reviewer")
        return gettext("Annotator %(n)s") % {"n": n} if n else gettext("Annotator")

    return name
