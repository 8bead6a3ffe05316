"""The data model of the ground floor. Each file is one group of nouns."""

from .annotations import (
    Annotation,
    AnnotationRequest,
    AnnotationRevision,
    AnnotationState,
    Assignment,
    AssignmentState,
    RequestState,
    Source,
)
from .audit import AuditEvent
from .budget import Budget
from .datasets import DatasetState, DatasetVersion, Fidelity, MixScore, PreferenceMix
from .jobs import Job, JobKind, JobState
from .people import Annotator, AnnotatorKind, ApiToken, Invitation, LoginLink, Membership, Project, Role, User
from .tasks import (
    GuidelineVersion,
    ImportBatch,
    ImportState,
    Instance,
    QuestionsDraft,
    QuestionsVersion,
    Task,
    TaskState,
)

__all__ = [
    "Annotation",
    "AnnotationRequest",
    "AnnotationRevision",
    "AnnotationState",
    "Annotator",
    "AnnotatorKind",
    "ApiToken",
    "Assignment",
    "AssignmentState",
    "AuditEvent",
    "Budget",
    "DatasetState",
    "DatasetVersion",
    "Fidelity",
    "GuidelineVersion",
    "ImportBatch",
    "ImportState",
    "Instance",
    "Invitation",
    "Job",
    "JobKind",
    "JobState",
    "LoginLink",
    "Membership",
    "MixScore",
    "PreferenceMix",
    "Project",
    "QuestionsDraft",
    "QuestionsVersion",
    "RequestState",
    "Role",
    "Source",
    "Task",
    "TaskState",
    "User",
]
