"""Reward models that vote on labels that they have not seen."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.engine.files import fsync_path
from training.engine.learner import Learner, Split
from training.engine.measuring import evaluate
from training.engine.team import ALONE, Team
from training.engine.tokens import TokenGroup
from training.objectives.voting import Doubted

Floats = NDArray[np.float64]
Train = Callable[[Split, int], Learner]


def strengths_by_votes(split: Split, rounds: int, train: Train, folder: Path, team: Team = ALONE) -> Floats:
    """How far the votes put the sides of each edge apart [E]: the mean of (r_left - r_right) over the rounds.

    In each round the prompts are halved by their id, and `train(half, number)` gives a reward model of one half that
    votes on the other. Votes of a round that is done are kept in `folder`.
    """
    edges = sum(len(group.preferences) for group in split.groups)
    total = np.zeros(edges)
    for number in range(2 * rounds):
        total += _votes_of(split, number, train, folder, team)
    return total / rounds


def _votes_of(split: Split, number: int, train: Train, folder: Path, team: Team) -> Floats:
    """Votes of one reward model [E], 0 where it has seen the prompt."""
    from safetensors.numpy import load_file, save_file

    path = folder / f"votes-{number}.safetensors"
    if team.first(path.exists()):
        return np.asarray(load_file(path)["votes"], dtype=np.float64)
    sides = [_side(group.prompt_id, number // 2) == number % 2 for group in split.groups]
    seen = Split([group for group, inside in zip(split.groups, sides, strict=True) if inside])
    unseen = Split([group for group, inside in zip(split.groups, sides, strict=True) if not inside])
    rewards = iter(evaluate(train(seen, number), unseen)[1] if len(seen) and len(unseen) else [])
    votes: list[float] = []
    for group, inside in zip(split.groups, sides, strict=True):
        own = None if inside or not len(seen) else next(rewards)
        votes += [0.0 if own is None else own[edge.left] - own[edge.right] for edge in group.preferences]
    if team.leads:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        save_file({"votes": np.array(votes)}, temporary)
        fsync_path(temporary)
        os.replace(temporary, path)
    return np.array(votes)


def _side(prompt_id: str, number: int) -> int:
    """The half of the prompts that one belongs to in a round."""
    return hashlib.sha256(f"{number}:{prompt_id}".encode()).digest()[0] % 2


def relabelled(split: Split, labels: Doubted) -> Split:
    """The split with the labels that the votes leave."""
    told = zip(labels.probability.tolist(), labels.margin.tolist(), strict=True)

    def of(group: TokenGroup) -> TokenGroup:
        edges = tuple(
            replace(edge, probability=probability, margin=margin)
            for edge, (probability, margin) in zip(group.preferences, told, strict=False)
        )
        return replace(group, preferences=edges)

    return replace(split, groups=[of(group) for group in split.groups])
