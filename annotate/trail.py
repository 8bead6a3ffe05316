"""What the trail of who did what says in words, beside the names that the database keeps."""

from __future__ import annotations

import re
from typing import Any

from feedback.models import AuditEvent, JobKind

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

WORDS = {
    "adjudication.decide": "Decided a disagreement",
    "adjudication.undo": "Took a decision back",
    "assignment.requeue": "Gave an instance to somebody else",
    "budget.cap": "Set the budget",
    "comment.delete": "Deleted a comment",
    "dataset.freeze": "Froze a dataset version",
    "evaluation.start": "Started an evaluation",
    "flag.decide": "Decided a flag",
    "generation.start": "Had a policy write completions",
    "import": "Imported instances",
    "instance.release": "Put an instance back into the queue",
    "instances.raise-priority": "Raised the priority of instances",
    "instances.remove": "Took instances out",
    "instances.restore": "Put instances back",
    "instances.send-to-people": "Sent instances to people",
    "job.cancel": "Cancelled a job",
    "features.leave_out": "Said which columns count in plans",
    "features.tag": "Had instances tagged by a model",
    "judge.create": "Configured a judge",
    "judge.edit": "Changed a judge",
    "judge.retire": "Took a judge out of use",
    "judge.run": "Put a judge to work",
    "media.add": "Added a media file",
    "media.delete": "Deleted a media file",
    "media.replace": "Replaced a media file",
    "member.abilities": "Changed languages or skills",
    "member.invite": "Invited a person",
    "member.join": "Joined",
    "member.remove": "Removed a member",
    "member.role": "Changed a role",
    "pilot.start": "Drew a pilot",
    "plan.apply": "Applied a plan",
    "plan.finish": "Finished a plan's rounds",
    "plan.make": "Made a plan",
    "plan.resume": "Resumed a plan's rounds",
    "plan.round": "Began a round of a plan",
    "plan.stop": "Stopped a plan's rounds",
    "project.create": "Created the project",
    "project.edit": "Changed the project",
    "run.cancelled": "Run cancelled",
    "run.checked": "Run checked",
    "run.failed": "Run failed",
    "run.finished": "Run finished",
    "run.go": "Started a checked run",
    "run.resume": "Resumed a run",
    "run.start": "Started a run",
    "scoring.start": "Had a reward model score a task",
    "sweep.start": "Started a sweep",
    "task.closed": "Closed a task",
    "task.create": "Created a task",
    "task.draft": "Took a task back to draft",
    "task.edit": "Changed a task",
    "task.open": "Opened a task",
    "token.create": "Made an API token",
    "token.revoke": "Revoked an API token",
    **{f"job.{kind.value}": f"Queued a job: {kind.label}" for kind in JobKind},
}


def told(event: AuditEvent) -> dict[str, Any]:
    """One event as its row shows it. The id of a row says nothing to people; it stays in the database."""
    subject = "" if _ID.fullmatch(event.subject) else event.subject
    return {
        "at": event.created_at,
        "who": event.actor_name,
        "action": event.action,
        "words": WORDS.get(event.action, event.action),
        "subject": subject,
    }
