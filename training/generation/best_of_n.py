"""Best of n: draw several completions and keep the one that a reward model likes most."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from training.engine import attention
from training.engine.batches import fill
from training.engine.forward import run_model
from training.engine.memory import within_memory
from training.engine.pack import make_batch
from training.engine.records import Group, Text
from training.engine.segments import segmenting_of
from training.engine.tokens import Lengths, TokenGroup, tokenise
from training.generation.sample import Sampling, UnansweredError, sample
from training.objectives.reward import combined

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class Judged:
    """A completion with its reward."""

    completion: str
    score: float


def score_completions(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    prompts: Sequence[Text],
    completions: Sequence[Sequence[Text]],
    *,
    max_length: int = 2048,
    budget: int = 4096,
) -> list[list[float]]:
    """A reward model's score of each completion of each prompt, in order.

    Prompts too long for `max_length` lose their start. Raises UnansweredError where a completion alone is too long.
    """
    groups = [
        Group(str(number), str(number), "", prompt, tuple(several), ())
        for number, (prompt, several) in enumerate(zip(prompts, completions, strict=True))
    ]
    segmenting = segmenting_of(model.config)
    tokens, report = tokenise(groups, tokenizer, Lengths(max_length, None, "truncate-prompt-left"), segmenting)
    if report.dropped:
        words = f"the reward model, which reads {max_length} tokens, cannot score what was written"
        raise UnansweredError(f"{words} ({'; '.join(report.dropped)})")
    return score_groups(model, tokens, budget)


def score_groups(
    model: "PreTrainedModel",
    groups: Sequence[TokenGroup],
    budget: int = 4096,
    after_batch: Callable[[int], None] = lambda _done: None,
) -> list[list[float]]:
    """A reward model's scores of tokenised groups. Raises ValueError for a model that gives no score of a completion:
    a policy, or one that reads two at once. `after_batch` hears how many groups are done."""
    if getattr(model.config, "reads_pairs", False):
        raise ValueError("The model compares two completions that it reads at once; it cannot score one.")
    packed = model.config._attn_implementation == attention.NAME

    def judged(indices: list[int]) -> list[list[float]]:
        batch = make_batch([groups[index] for index in indices], "segments" if packed else "padded", model.device)
        with torch.inference_mode():
            said = run_model(model, batch)
        if said.scores is None:
            raise ValueError("The model has no score head.")
        flat = iter((one_score(model, said.scores) if said.rewards is None else said.rewards).tolist())
        return [[next(flat) for _ in group.completions] for group in batch.groups]

    scores: list[list[float]] = []
    batches = fill(range(len(groups)), groups, budget, padded=not packed)
    for _, found in within_memory(batches, groups, judged):
        scores += found
        after_batch(len(scores))
    return scores


def one_score(model: "PreTrainedModel", scores: Tensor) -> Tensor:
    """A reward model's scores [R, K] as one [R], combined as its configuration says. Raises ValueError where it has
    several heads and does not say."""
    combination = getattr(model.config, "combination", None)
    if scores.shape[1] == 1:
        return scores[:, 0]
    if combination is None:
        raise ValueError("The model has several heads and does not say how they are combined.")
    return combined(scores, combination["how"], combination["uncertainty_weight"])


def best_of_n(
    policy: "PreTrainedModel",
    policy_tokenizer: "PreTrainedTokenizerFast",
    reward: "PreTrainedModel",
    reward_tokenizer: "PreTrainedTokenizerFast",
    prompt: Text,
    n: int,
    sampling: Sampling | None = None,
) -> list[Judged]:
    """`n` drawn completions with their rewards, best first; the first of equals stays first."""
    drawn = sample(policy, policy_tokenizer, prompt, n, sampling)
    scores = score_completions(reward, reward_tokenizer, [prompt], [drawn])[0]
    judged = [Judged(completion, score) for completion, score in zip(drawn, scores, strict=True)]
    return sorted(judged, key=lambda one: -one.score)
