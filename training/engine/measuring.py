"""What a model makes of a split: loss, accuracy and rewards, exact at any batch size."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields

import torch

from training.engine.errors import RunError
from training.engine.forward import Outputs
from training.engine.learner import Learner, Split
from training.engine.pack import Batch
from training.objectives.terms import Loss


@dataclass(slots=True)
class Tally:
    """Sums over the edges of a step or a split; `means` turns them into the numbers of a curve."""

    loss: float = 0.0
    weight: float = 0.0
    chosen: float = 0.0
    rejected: float = 0.0
    correct: float = 0.0
    decided: int = 0
    edges: int = 0
    tokens: int = 0

    def add(self, batch: Batch, loss: Loss) -> None:
        """Count one batch. An edge of even odds has no right answer; equal rewards are half right."""
        edges = batch.edges
        left, right = loss.rewards[edges.left], loss.rewards[edges.right]
        lean = torch.sign(edges.probability - 0.5)
        self.loss += float(loss.terms.detach().sum())
        self.weight += float(loss.weights.sum())
        self.chosen += float(left.sum())
        self.rejected += float(right.sum())
        self.correct += float((lean.abs() * (1 + lean * torch.sign(left - right)) / 2).sum())
        self.decided += int(lean.abs().sum())
        self.edges += len(edges.left)
        self.tokens += batch.tokens

    @classmethod
    def of(cls, parts: Iterable["Tally"]) -> "Tally":
        """The sums over several."""
        whole = cls()
        for part in parts:
            for name in (one.name for one in fields(cls)):
                setattr(whole, name, getattr(whole, name) + getattr(part, name))
        return whole

    def means(self) -> dict[str, float]:
        """Loss; and accuracy, margin and rewards where there are preferences."""
        loss = {"loss": self.loss / self.weight if self.weight else 0.0}
        if not self.edges:
            return loss
        edges = self.edges
        return loss | {
            "accuracy": self.correct / self.decided if self.decided else 0.5,
            "margin": (self.chosen - self.rejected) / edges,
            "reward_chosen": self.chosen / edges,
            "reward_rejected": self.rejected / edges,
        }


def evaluate(
    learner: Learner, split: Split, after_batch: Callable[[int], None] = lambda _done: None
) -> tuple[Tally, list[tuple[float, ...]]]:
    """Loss and metrics over a split, and the reward of each completion of each group, in order."""
    overview = learner.overview(split, range(len(split)))

    def judged(indices: list[int]) -> tuple[Batch, Loss]:
        with torch.inference_mode():
            batch, loss = learner.loss(split, indices, overview)
        refuse_non_finite(batch, loss)
        return batch, loss

    def own() -> tuple[Tally, dict[int, tuple[float, ...]]]:
        tally = Tally()
        rewards: dict[int, tuple[float, ...]] = {}
        mine = learner.team.share(range(len(split)), split.costs)
        for indices, (batch, loss) in learner.unlearned(split, mine, judged):
            tally.add(batch, loss)
            values = iter(loss.rewards.tolist())
            for index, group in zip(indices, batch.groups, strict=True):
                rewards[index] = tuple(next(values) for _ in group.completions)
            after_batch(len(rewards))
        return tally, rewards

    tallies, parts = zip(*learner.team.outcomes(own), strict=True)
    found = {index: values for part in parts for index, values in part.items()}
    return Tally.of(tallies), [found[index] for index in range(len(split))]


@torch.no_grad()
def observed(learner: Learner, split: Split) -> Iterator[tuple[Batch, Outputs]]:
    """What the model says of a split, batch by batch, without gradients."""

    def said(indices: list[int]) -> tuple[Batch, Outputs]:
        return learner.forward(split, indices)[:2]

    for _, found in learner.unlearned(split, range(len(split)), said):
        yield found


def refuse_non_finite(batch: Batch, loss: Loss) -> None:
    finite = torch.isfinite(loss.terms)
    if not bool(finite.all()):
        rows = [batch.groups[number].id for number in sorted(set(loss.groups[~finite].tolist()))]
        raise RunError(f"The loss is not finite (rows {', '.join(rows[:3])}).", rows)
