"""The queue: lend an instance, keep the draft, take the answer, undo.

Rules, held by ``instance.open_slots`` and unique constraints rather than by reading first:

* lending takes one slot in the same transaction that makes the assignment; never the same instance twice to a person;
* an expired lease, a skip, a flag or a reviewer gives the slot back; the draft stays;
* a late submit counts only if it can take a slot again, so the overlap is never passed;
* a submission id names one body: the same again is the same answer, another body is refused.
"""

from .counting import Unnamed, progress_in, progress_of, unnamed, unsuited_in
from .drafts import check_draft, save_draft
from .lending import next_assignment, renew
from .line import prioritise, reform, take_slot
from .places import annotator_of
from .preparing import PREPARED_SECONDS, hand_back, prepare
from .returning import FLAG_REASONS, HARMFUL, SKIP_REASONS, flag, release, requeue, return_expired, skip
from .revising import EDITABLE, UNDO_SECONDS, edit, undo
from .submitting import body_digest, checked, submit

__all__ = [
    "EDITABLE",
    "FLAG_REASONS",
    "HARMFUL",
    "PREPARED_SECONDS",
    "SKIP_REASONS",
    "UNDO_SECONDS",
    "Unnamed",
    "annotator_of",
    "body_digest",
    "check_draft",
    "checked",
    "edit",
    "flag",
    "hand_back",
    "next_assignment",
    "prepare",
    "prioritise",
    "progress_in",
    "progress_of",
    "reform",
    "release",
    "renew",
    "requeue",
    "return_expired",
    "save_draft",
    "skip",
    "submit",
    "take_slot",
    "undo",
    "unnamed",
    "unsuited_in",
]
