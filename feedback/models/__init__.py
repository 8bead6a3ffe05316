"""The data model of the ground floor. Each file is one group of nouns."""

from .annotations import (
    Annotation,
    AnnotationRequest,
    AnnotationRevision,
    AnnotationState,
    Assignment,
    AssignmentState,
    Line,
    QueuePlace,
    RequestState,
    Source,
)
from .audit import AuditEvent
from .budget import Budget
from .datasets import DatasetState, DatasetVersion, Fidelity, MixScore, PreferenceMix
from .jobs import Job, JobKind, JobState
from .media import MediaFile, MediaKind
from .people import Annotator, AnnotatorKind, ApiToken, Invitation, LoginLink, Membership, Project, Role, User
from .reviewing import Adjudication, AdjudicationState, Comment, FlagAction, FlagDecision
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
    "Adjudication",
    "AdjudicationState",
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
    "Comment",
    "DatasetState",
    "DatasetVersion",
    "Fidelity",
    "FlagAction",
    "FlagDecision",
    "GuidelineVersion",
    "ImportBatch",
    "ImportState",
    "Instance",
    "Invitation",
    "Job",
    "JobKind",
    "JobState",
    "Line",
    "LoginLink",
    "MediaFile",
    "MediaKind",
    "Membership",
    "MixScore",
    "PreferenceMix",
    "Project",
    "QuestionsDraft",
    "QuestionsVersion",
    "QueuePlace",
    "RequestState",
    "Role",
    "Source",
    "Task",
    "TaskState",
    "User",
]
