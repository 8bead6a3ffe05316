"""Where a judge's reply comes from. A new backend implements `Backend` and is added to `BackendName` in config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from routing.judge.asking import Ask, Material, View
from routing.judge.config import JudgeConfig, Order
from routing.judge.outcome import AbstentionReason, TokenLogprob
from routing.judge.prompts import JudgePrompt
from routing.judge.tagging import Dimension


@dataclass(frozen=True)
class Usage:
    """Tokens that the endpoint says it counted."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class JudgeRequest:
    """One call. A real endpoint sees only `prompt`; what is simulated or local may look at all of it.

    `instance_key` and `sample` seed a simulated judge. With a `dimension` the prompt is to be tagged, not judged.
    """

    config: JudgeConfig
    ask: Ask
    prompt: JudgePrompt
    material: Material
    view: View
    order: Order
    instance_key: str
    sample: int = 0
    dimension: Dimension | None = None


@dataclass(frozen=True)
class Reply:
    """What came back, before it is read. `refused` and `truncated` are the endpoint's own statements."""

    text: str
    usage: Usage | None = None
    logprobs: Sequence[TokenLogprob] = ()
    refused: bool = False
    truncated: bool = False
    tries: int = 1


class JudgeCallError(Exception):
    """The judge could not be asked, or did not answer in time or in form."""

    def __init__(
        self, reason: AbstentionReason, detail: str = "", *, tries: int = 1, transient: bool, billed: bool
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail[:300]
        self.tries = tries
        self.transient = transient
        self.billed = billed


class Backend(Protocol):
    """Answers judge calls. Safe to share between threads."""

    def complete(self, request: JudgeRequest) -> Reply:
        """One reply. Raises JudgeCallError, and nothing else, when there is none."""
        ...
