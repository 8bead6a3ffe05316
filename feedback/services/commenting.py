"""The thread of an instance: who may read it, and what they may do to it.

Every member may speak; somebody who only labels sees the threads of instances they annotated, handed back or hold.
One's own words can be edited and deleted; a manager deletes anybody's; anybody in the thread resolves and reopens.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from ..exceptions import Forbidden, InvalidInput, WrongState
from ..models import Assignment, AuditEvent, Comment, Instance, Project, User
from ..text import InvalidText, check_text
from ..wording import Sentence
from .people import MANAGE, VIEW, may

LONGEST = 4000


def readable(project: Project, user: User) -> QuerySet[Instance]:
    """The instances of the project whose threads ``user`` may read and write."""
    rows = Instance.objects.filter(task__project=project)
    if may(user, project, VIEW):
        return rows
    return rows.filter(Exists(Assignment.objects.filter(instance=OuterRef("pk"), annotator__user=user)))


def thread_of(instance: Instance) -> QuerySet[Comment]:
    """What was said, oldest first."""
    return instance.comments.standing().select_related("author", "resolved_by").order_by("pk")  # type: ignore[attr-defined, no-any-return]


def add(instance: Instance, text: str, *, author: User) -> Comment:
    """Say something. Raises InvalidInput."""
    return Comment.objects.create(instance=instance, author=author, text=_checked(text))


def edit(comment: Comment, text: str, *, actor: User) -> Comment:
    """Change one's own words. Raises Forbidden for another's, InvalidInput, WrongState once it was deleted."""
    if comment.author_id != actor.pk:
        raise Forbidden("Only its author changes a comment.")
    now = timezone.now()
    _change(comment, text=_checked(text), edited_at=now)
    return comment


@transaction.atomic
def delete(comment: Comment, *, actor: User) -> None:
    """Take the words away. Raises Forbidden for another's comment without the permission to manage."""
    project = comment.instance.task.project
    own = comment.author_id == actor.pk
    if not own and not may(actor, project, MANAGE):
        raise Forbidden("Only its author or a manager deletes a comment.")
    _change(comment, text="", deleted_at=timezone.now())
    if not own:
        subject = comment.instance.external_id
        AuditEvent.write("comment.delete", actor=actor, project=project, subject=subject, author=str(comment.author))


def resolve(comment: Comment, *, actor: User) -> None:
    _change(comment, resolved_at=timezone.now(), resolved_by=actor)


def reopen(comment: Comment) -> None:
    _change(comment, resolved_at=None, resolved_by=None)


def _change(comment: Comment, **fields: object) -> None:
    if not Comment.objects.standing().filter(pk=comment.pk).update(**fields):
        raise WrongState("This comment was deleted.")
    for name, value in fields.items():
        setattr(comment, name, value)


def _checked(text: str) -> str:
    try:
        said = check_text(text, max_chars=LONGEST).strip()
    except InvalidText as error:
        raise InvalidInput(errors={"text": f"The text {error.reason}."}) from error
    if not said:
        raise InvalidInput(errors={"text": Sentence("Write something first.")})
    return said
