"""What a call may cost at worst, what it did cost, and the key under which its verdict is kept."""

from __future__ import annotations

import hashlib
from decimal import ROUND_UP, Decimal

from routing.judge.asking import Ask
from routing.judge.backends import Usage
from routing.judge.config import JudgeConfig, Order
from routing.judge.prompts import TEMPLATE_VERSION

MONEY_STEP = Decimal("0.00000001")
MILLION = Decimal(1_000_000)
# Tokens that a chat template, a tool header or an injected JSON schema may add to the bytes that were sent.
OVERHEAD_TOKENS = 1024


def most_prompt_tokens(sent_bytes: int) -> int:
    """An upper bound on prompt tokens: a byte-level tokenizer makes at most one token of a byte."""
    return sent_bytes + OVERHEAD_TOKENS


def token_cost(config: JudgeConfig, prompt_tokens: int, completion_tokens: int) -> Decimal:
    """Money for these tokens at the configured prices per million, rounded up to 1e-8."""
    exact = (config.price_in * prompt_tokens + config.price_out * completion_tokens) / MILLION
    return exact.quantize(MONEY_STEP, rounding=ROUND_UP)


def worst_case_cost(config: JudgeConfig, sent_bytes: int) -> Decimal:
    """The most that one call sending this many UTF-8 bytes can cost. Reserve it before the call, settle afterwards."""
    return token_cost(config, most_prompt_tokens(sent_bytes), config.max_tokens)


def actual_cost(config: JudgeConfig, usage: Usage | None, sent_bytes: int) -> tuple[Decimal, bool]:
    """(money, whether it was measured). Missing or impossible usage is charged at the worst case, unmeasured."""
    bound = most_prompt_tokens(sent_bytes)
    if usage is None or usage.prompt_tokens > bound or usage.completion_tokens > config.max_tokens:
        return worst_case_cost(config, sent_bytes), False
    return token_cost(config, usage.prompt_tokens, usage.completion_tokens), True


def cache_key(
    config: JudgeConfig, ask: Ask, content_hash: str, order: Order, sample: int = 0, part: int | None = None
) -> str:
    """SHA-256 (hex) over model, prompt version, template version, what is asked, instance content, order, sample number
    and the one completion that the call shows, if it shows one."""
    parts = (config.model, config.prompt_version, TEMPLATE_VERSION, ask.version(), content_hash, order, str(sample))
    return hashlib.sha256("\x1f".join((*parts, str(part))).encode("utf-8", "surrogatepass")).hexdigest()
