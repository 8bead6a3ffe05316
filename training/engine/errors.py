"""What can stop a run, in words that its owner can act on."""

from collections.abc import Sequence


class RunError(Exception):
    """A run cannot go on. `str(error)` is one sentence for the user; `rows` names the rows to look at."""

    def __init__(self, sentence: str, rows: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.rows = list(rows)


class CancelledError(Exception):
    """Someone asked for the run to end; what was learned so far is kept."""
