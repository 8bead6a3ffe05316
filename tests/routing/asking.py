"""What tests of the judge share: asking about one pair, and about whatever a task asks."""

from __future__ import annotations

from random import Random
from typing import Any

from feedback.questions import parse_questions
from routing.judge.asking import PAIR_ASK, Ask, Material, ask_of
from routing.judge.backends import Backend
from routing.judge.calling import CallResult, judge
from routing.judge.config import JudgeConfig, Order
from routing.judge.prompts import JudgePrompt, build_prompt
from routing.judge.verdict import Verdict, combine_calls


def pair_prompt(config: JudgeConfig, prompt: Any, a: str, b: str, order: Order, rng: Random) -> JudgePrompt:
    return build_prompt(config, asked_by(config), Material(prompt, (a, b)), order, rng)


def judge_pair(
    config: JudgeConfig, backend: Backend, prompt: Any, a: str, b: str, order: Order, rng: Random, **more: Any
) -> CallResult:
    return judge(config, asked_by(config), backend, Material(prompt, (a, b)), order, rng, **more)


def asked_by(config: JudgeConfig, *questions: dict[str, Any]) -> Ask:
    """What a judge is asked by a task with these questions; by default by one that compares two."""
    if not questions:
        return ask_of(config, [PAIR_ASK.preference]) if PAIR_ASK.preference else PAIR_ASK
    return ask_of(config, parse_questions(list(questions)))


def combine_orders(ab: CallResult | None, ba: CallResult | None, config: JudgeConfig) -> Verdict:
    return combine_calls([call for call in (ab, ba) if call is not None], config, asked_by(config))
