"""Domain errors. The docstring is the message a person reads; ``code`` is what a program reads."""

from __future__ import annotations

from collections.abc import Mapping


class FeedbackError(Exception):
    """Something about this request cannot be done."""

    code = "error"
    status = 400

    def __init__(self, message: str = "", *, errors: Mapping[str, str] | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.errors = dict(errors or {})
        super().__init__(self.message)

    @property
    def in_full(self) -> str:
        """What is wrong, where no form shows the fields: the message, where it says more than its kind, and they."""
        general = self.message == (type(self).__doc__ or "").strip()
        return " ".join(self.errors.values() if general and self.errors else [self.message, *self.errors.values()])


class InvalidInput(FeedbackError):
    """Some fields are not right; nothing was stored."""

    code = "invalid"
    status = 422


class Conflict(FeedbackError):
    """This was changed in the meantime; nothing was stored."""

    code = "conflict"
    status = 409


class NotFound(FeedbackError):
    """This is not there any more."""

    code = "not-found"
    status = 404


class DraftConflict(Conflict):
    """This draft was changed in another tab; choose which text to keep."""

    code = "draft-conflict"

    def __init__(self, version: int, answers: Mapping[str, object]) -> None:
        self.version, self.answers = version, dict(answers)
        super().__init__()


class SubmissionReused(Conflict):
    """This submission id was already used with another answer."""

    code = "submission-reused"


class KeyReused(Conflict):
    """This Idempotency-Key was already used for another request."""

    code = "idempotency-key-reused"


class LeaseLost(FeedbackError):
    """The time for this instance ran out and another person has it now; your draft is kept."""

    code = "lease-lost"
    status = 410


class NothingToLabel(FeedbackError):
    """There is no instance open to you in this task."""

    code = "nothing-to-label"
    status = 404


class Unsuited(NothingToLabel):
    """This task asks for a language or a skill that you do not have."""

    code = "unsuited"
    status = 404


class UndoExpired(Conflict):
    """It is too late to undo this annotation."""

    code = "undo-expired"


class Frozen(Conflict):
    """This is part of a frozen dataset version and cannot change."""

    code = "frozen"


class BudgetExhausted(Conflict):
    """The budget of this task does not cover it."""

    code = "budget-exhausted"


class QuestionsChanged(Conflict):
    """These questions were changed in another tab or by somebody else; nothing was overwritten."""

    code = "questions-changed"


class AnswersMisfit(Conflict):
    """Stored answers would no longer fit the new questions; accept that, or give the questions new names."""

    code = "answers-misfit"


class WrongState(Conflict):
    """This cannot be done in its present state."""

    code = "wrong-state"


class Forbidden(FeedbackError):
    """Your role in this project does not allow this."""

    code = "forbidden"
    status = 403
