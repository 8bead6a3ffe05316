"""What a policy has come to find less likely than the model that it started from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.evaluation.accuracy import bootstrap_interval


@dataclass(frozen=True, slots=True)
class Text:
    """A completion's log-probability (nats, summed over its tokens) under the policy and under its reference."""

    prompt_id: str
    tokens: int
    logp: float
    reference_logp: float


def forgetting(texts: Sequence[Text], *, seed: int = 0) -> dict[str, Any] | None:
    """Perplexity of texts before and after training. None without tokens.

    With n tokens in all, `nll` = −Σ log π / n and `reference_nll` likewise, in nats per token. `increase` is the mean
    over texts of (log π_ref − log π) / tokens, with a 95% bootstrap interval over prompts (`low`, `high`): above zero
    the policy has lost some of what it could say.
    """
    kept = [text for text in texts if text.tokens]
    if not kept:
        return None
    tokens = sum(text.tokens for text in kept)
    each = np.array([(text.reference_logp - text.logp) / text.tokens for text in kept])
    low, high = bootstrap_interval(each, [text.prompt_id for text in kept], seed=seed)
    return {
        "texts": len(kept),
        "tokens": tokens,
        "nll": -sum(text.logp for text in kept) / tokens,
        "reference_nll": -sum(text.reference_logp for text in kept) / tokens,
        "increase": float(each.mean()),
        "low": low,
        "high": high,
    }
