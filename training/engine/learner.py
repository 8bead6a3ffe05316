"""A model with what it is taught: everything that turns rows into a loss."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from training.engine.batches import fill
from training.engine.config import RunConfig
from training.engine.forward import Outputs, run_model
from training.engine.memory import within_memory
from training.engine.pack import Batch, by_completion, make_batch
from training.engine.pack import Path as AttentionPath
from training.engine.team import ALONE, Team
from training.engine.tokens import TokenGroup
from training.objectives.catalogue import Objective
from training.objectives.registry import FUNCTIONS
from training.objectives.terms import Inputs, Loss, Peers, Tokens
from training.objectives.voting import second_view

if TYPE_CHECKING:
    from transformers import PreTrainedModel

T = TypeVar("T")


@dataclass(frozen=True)
class Split:
    """Groups of one split, and the reference log-probabilities of their completions where the objective needs them.

    `mismatched` has the same prompts with completions of others, where the objective needs the divergence, and
    `token_rewards` a reward of each token of each completion, where it needs those.
    """

    groups: Sequence[TokenGroup]
    references: Sequence[tuple[float, ...]] | None = None
    mismatched: "Split | None" = None
    token_rewards: Sequence[tuple[tuple[float, ...], ...]] | None = None

    def __len__(self) -> int:
        return len(self.groups)

    @cached_property
    def costs(self) -> list[int]:
        """Tokens of each group."""
        return [group.packed_tokens for group in self.groups]


@dataclass(frozen=True)
class Overview:
    """What the loss of each micro-batch of a step must know of the whole step.

    `divergence` [] estimates KL(policy, reference); `peers` [P, d] are the directions of all its pairs, `first` where
    those of each group begin.
    """

    divergence: Tensor | None = None
    peers: Tensor | None = None
    first: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Learner:
    """A model with what it is taught: everything that turns rows into a loss."""

    model: "PreTrainedModel"
    objective: Objective
    config: RunConfig
    path: AttentionPath
    team: Team = ALONE

    def loss(self, split: Split, indices: Sequence[int], overview: Overview | None = None) -> tuple[Batch, Loss]:
        """Forward of some groups of a split; `overview` as that method gives it for the whole step."""
        batch, outputs, references = self.forward(split, indices)
        overview = overview or Overview()
        inputs = Inputs(
            edges=batch.edges,
            completions=batch.completions,
            scores=outputs.scores,
            logps=outputs.logps,
            ref_logps=references,
            scored=batch.scored,
            divergence=overview.divergence,
            segment_scores=outputs.segment_scores,
            segments=batch.segments,
            rewards=outputs.rewards,
            tokens=_tokens(batch, outputs, split, indices),
            features=outputs.features,
            peers=_peers(split, indices, overview, batch),
        )
        return batch, FUNCTIONS[self.objective.name](inputs, self.config.objective_options)

    def overview(self, split: Split, indices: Sequence[int]) -> Overview:
        """What the objective needs to know of a whole step, or of a whole split, however it is cut into batches."""
        if indices and "peers" in self.objective.needs and self.config.objective_options.contrast_weight:
            return self._overview_of_pairs(split, indices)
        return Overview(divergence=self.divergence(split, indices))

    @torch.no_grad()
    def _overview_of_pairs(self, split: Split, indices: Sequence[int]) -> Overview:
        def directions(part: list[int]) -> Tensor:
            batch, outputs, _ = self.forward(split, part)
            assert outputs.features is not None
            return second_view(outputs.features, batch.edges, batch.completions)

        found: list[tuple[list[int], Tensor]] = []
        # every process looks at all of them; one whose memory is short must not leave the others waiting
        self.team.outcomes(lambda: found.extend(self.unlearned(split, indices, directions)))
        first, count = {}, 0
        for index in (index for part, _ in found for index in part):
            first[index] = count
            count += len(split.groups[index].preferences)
        return Overview(peers=torch.cat([ways for _, ways in found]), first=first)

    @torch.no_grad()
    def divergence(self, split: Split, indices: Sequence[int]) -> Tensor | None:
        """Estimate of KL(policy, reference) from the mismatched completions of some groups, if the objective needs it:
        the mean log-ratio over all of them, however they are cut into batches."""
        other = split.mismatched
        if other is None:
            return None

        def ratios(part: list[int]) -> tuple[float, int]:
            _, outputs, references = self.forward(other, part)
            assert outputs.logps is not None
            assert references is not None
            return float((outputs.logps - references).sum()), len(references)

        mine = self.team.share(indices, other.costs)
        parts = self.team.outcomes(lambda: [found for _, found in self.unlearned(other, mine, ratios)])
        sums = [found for part in parts for found in part]
        mean = sum(total for total, _ in sums) / max(1, sum(count for _, count in sums))
        return torch.tensor(mean, device=self.model.device)

    def unlearned(
        self, split: Split, indices: Sequence[int], forward: Callable[[list[int]], T]
    ) -> Iterator[tuple[list[int], T]]:
        """What `forward` gives of some groups batch by batch, with their indices, see `within_memory`."""
        batches = fill(indices, split.groups, self.config.tokens_per_batch, padded=self.path == "padded")
        return within_memory(batches, split.groups, forward)

    def forward(self, split: Split, indices: Sequence[int]) -> tuple[Batch, Outputs, Tensor | None]:
        """What the model says of some groups, and their reference log-probabilities [R] where there are any."""
        batch = make_batch([split.groups[index] for index in indices], self.path, self.model.device)
        outputs = run_model(self.model, batch, self.config.precision)
        if split.references is None:
            return batch, outputs, None
        values = [value for index in indices for value in split.references[index]]
        return batch, outputs, torch.tensor(values, dtype=torch.float32, device=self.model.device)


def _tokens(batch: Batch, outputs: Outputs, split: Split, indices: Sequence[int]) -> Tokens | None:
    """The scored tokens of a batch one by one, by completion, with their rewards."""
    if split.token_rewards is None or outputs.token_logps is None:
        return None
    place, completion = by_completion(batch)
    rewards = [value for index in indices for values in split.token_rewards[index] for value in values]
    return Tokens(
        completion=completion,
        logps=outputs.token_logps[place],
        rewards=torch.tensor(rewards, dtype=torch.float32, device=place.device),
    )


def _peers(split: Split, indices: Sequence[int], overview: Overview, batch: Batch) -> Peers | None:
    if overview.peers is None:
        return None
    own = [
        overview.first[index] + number for index in indices for number in range(len(split.groups[index].preferences))
    ]
    return Peers(overview.peers, torch.tensor(own, dtype=torch.long, device=batch.last.device))
