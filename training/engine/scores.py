"""A split's rewards as pairs that are evaluated, and as lines of `scores.jsonl`."""

from typing import Any

from training.engine.tokens import TokenGroup
from training.evaluation.accuracy import ScoredPair


def scored_pairs(group: TokenGroup, rewards: tuple[float, ...]) -> list[ScoredPair]:
    """Each preference of a group with its rewards; of several, each is named after its two completions."""
    several = len(group.preferences) > 1
    return [
        ScoredPair(
            id=f"{group.id}-{edge.left}-{edge.right}" if several else group.id,
            prompt_id=group.prompt_id,
            source=group.source,
            score_chosen=rewards[edge.left],
            score_rejected=rewards[edge.right],
            probability=edge.probability,
            length_chosen=len(group.completions[edge.left]),
            length_rejected=len(group.completions[edge.right]),
        )
        for edge in group.preferences
    ]


def score_line(split: str, pair: ScoredPair) -> dict[str, Any]:
    """A line of `scores.jsonl`."""
    return {
        "id": pair.id,
        "score_chosen": pair.score_chosen,
        "score_rejected": pair.score_rejected,
        "split": split,
        "prompt_id": pair.prompt_id,
        "source": pair.source,
    }
