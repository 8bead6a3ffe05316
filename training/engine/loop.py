"""The one training loop: steps of micro-batches with one common denominator, watched, saved and resumable."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from training.engine import checkpoint as checkpoints
from training.engine import params
from training.engine.batches import fill
from training.engine.checkpoint import Checkpoint
from training.engine.config import RunConfig
from training.engine.errors import CancelledError, RunError
from training.engine.forward import Outputs, run_model
from training.engine.pack import Batch, by_completion, make_batch
from training.engine.pack import Path as AttentionPath
from training.engine.preflight import make_plan
from training.engine.progress import Progress, Stop
from training.engine.team import ALONE, Team
from training.engine.tokens import TokenGroup
from training.objectives.catalogue import Objective
from training.objectives.registry import FUNCTIONS
from training.objectives.terms import Inputs, Loss, Peers, Tokens
from training.objectives.voting import second_view

if TYPE_CHECKING:
    from transformers import PreTrainedModel


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
        found, first, count = [], {}, 0
        for part in fill(indices, split.groups, self.config.tokens_per_batch, padded=self.path == "padded"):
            batch, outputs, _ = self.forward(split, part)
            assert outputs.features is not None
            found.append(second_view(outputs.features, batch.edges, batch.completions))
            for index in part:
                first[index] = count
                count += len(split.groups[index].preferences)
        return Overview(peers=torch.cat(found), first=first)

    @torch.no_grad()
    def divergence(self, split: Split, indices: Sequence[int]) -> Tensor | None:
        """Estimate of KL(policy, reference) from the mismatched completions of some groups, if the objective needs it:
        the mean log-ratio over all of them, however they are cut into batches."""
        if split.mismatched is None:
            return None
        total, count = 0.0, 0
        groups, budget = split.mismatched.groups, self.config.tokens_per_batch
        mine = self.team.share(indices, split.mismatched.costs)
        for part in fill(mine, groups, budget, padded=self.path == "padded"):
            _, outputs, references = self.forward(split.mismatched, part)
            assert outputs.logps is not None
            assert references is not None
            total += float((outputs.logps - references).sum())
            count += len(references)
        totals, counts = zip(*self.team.gather((total, count)), strict=True)
        return torch.tensor(sum(totals) / max(1, sum(counts)), device=self.model.device)

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

    def together(self, team: Team) -> "Tally":
        """The sums over all processes."""
        whole = Tally()
        for part in team.gather(self):
            for name in (one.name for one in fields(Tally)):
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


@dataclass
class Trainer:
    """Trains a learner on a split; see `run`."""

    learner: Learner
    train: Split
    validation: Split
    run_dir: Path
    fingerprint: str
    progress: Progress
    stop: Stop
    step: int = 0
    tokens: int = 0
    halvings: int = 0
    _last_saved: int = -1
    _durations: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        config = self.learner.config
        self.optimizer = params.make_optimizer(self.learner.model, config.learning_rate, config.weight_decay)
        self.plan = make_plan(self.train.groups, config, self.learner.path)
        self.epoch_steps = self.plan.lengths(config.epochs)
        whole = sum(self.epoch_steps)
        self.total = min(whole, config.max_steps or whole)

    def run(self) -> None:
        """Train to the end, from the newest good checkpoint if there is one.

        Raises CancelledError (after saving) when asked to stop, RunError naming rows where the loss is not finite.
        """
        self.resume()
        self.progress.total_steps = self.total
        self.progress.step, self.progress.tokens_seen = self.step, self.tokens
        self.progress.enter("training", self.progress.message)
        for epoch, micro_batches in self._remaining():
            if self.learner.team.first(self.stop.requested()):
                self.save()
                raise CancelledError
            self._timed_step(epoch, micro_batches)
            self._at_intervals()
        self.save()

    def resume(self) -> None:
        """Continue from the newest whole checkpoint of this very run; curves are cut back to it."""
        root, team = self.run_dir / "checkpoints", self.learner.team
        if team.leads:
            checkpoints.clear_leftovers(root)
        found = checkpoints.find_latest(root, self.fingerprint)
        team.gather(None)  # nobody writes before all have read
        self.progress.message = " ".join(found.refused)
        if found.checkpoint is not None:
            self._restore(found.checkpoint)
            self.progress.message += f" Resumed from step {self.step}."
        self.progress.message = self.progress.message.strip()
        self.progress.rewind(self.step)

    def save(self) -> None:
        """Write a checkpoint of the current step, if there is none yet."""
        if self._last_saved == self.step or not self.learner.team.leads:
            return
        parts = {
            "weights": params.weights(self.learner.model),
            "optimizer": params.optimizer_tensors(self.optimizer),
            "rng": {"cpu": torch.get_rng_state()},
        }
        state = {"tokens": self.tokens, "halvings": self.halvings, "schedule": {"step": self.step}}
        saved = Checkpoint(self.step, parts, state)
        checkpoints.save(self.run_dir / "checkpoints", saved, self.fingerprint)
        self._last_saved = self.step

    def _restore(self, saved: Checkpoint) -> None:
        params.restore_weights(self.learner.model, saved.parts["weights"])
        params.restore_optimizer(self.optimizer, saved.parts.get("optimizer", {}))
        torch.set_rng_state(saved.parts["rng"]["cpu"])
        self.step, self._last_saved = saved.step, saved.step
        self.tokens, self.halvings = saved.state["tokens"], saved.state["halvings"]

    def _remaining(self) -> Iterator[tuple[int, list[list[int]]]]:
        """(epoch, micro-batches) of each step still to do. The step number is the sampler's cursor."""
        done = 0
        for epoch, length in enumerate(self.epoch_steps):
            if done + length > self.step:
                steps = self.plan.epoch(epoch)
                for micro_batches in steps[max(0, self.step - done) :]:
                    if self.step >= self.total:
                        return
                    yield epoch, micro_batches
            done += length

    def _timed_step(self, epoch: int, micro_batches: list[list[int]]) -> None:
        begin = time.perf_counter()
        values, tokens = self.update(micro_batches)
        seconds = time.perf_counter() - begin
        self.step += 1
        self.tokens += tokens
        self._durations = [*self._durations[-49:], seconds]
        values["tokens_per_second"] = tokens / seconds
        self.progress.metrics(self.step, values)
        self.progress.step, self.progress.epoch, self.progress.tokens_seen = self.step, epoch, self.tokens
        mean = sum(self._durations) / len(self._durations)
        self.progress.write(eta_seconds=mean * (self.total - self.step))

    def update(self, micro_batches: list[list[int]]) -> tuple[dict[str, float], int]:
        """One optimizer update: metrics and tokens. Out of memory halves the micro-batches and goes on."""
        while (tally := self._tried(split_batches(micro_batches, self.halvings))) is None:
            self.optimizer.zero_grad(set_to_none=True)
            if 2**self.halvings >= max(len(indices) for indices in micro_batches):
                raise RunError("Not even one row at a time fits into memory.", self._rows(micro_batches))
            self.halvings += 1
        rate = self._set_rate()
        norm = self._clip(micro_batches)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {**tally.means(), "learning_rate": rate, "grad_norm": norm}, tally.tokens

    def _tried(self, micro_batches: list[list[int]]) -> Tally | None:
        """Gradients of (sum of losses / sum of weights) over the whole step, so that neither accumulating nor sharing
        changes anything; None where memory was short in any process."""
        tally, short, fault = Tally(), False, None
        overview = self.learner.overview(self.train, [index for indices in micro_batches for index in indices])
        try:
            tally = self._gradients(micro_batches, overview)
        except torch.OutOfMemoryError:
            short = True
        except RunError as error:
            fault = (str(error), error.rows)
        ends = self.learner.team.gather((short, fault))
        for _, found in ends:
            if found is not None:
                raise RunError(*found)
        if any(short for short, _ in ends):
            return None
        tally = tally.together(self.learner.team)
        learning = [parameter for parameter in self.learner.model.parameters() if parameter.requires_grad]
        self.learner.team.add_gradients(learning)
        for parameter in learning:
            if parameter.grad is not None:
                parameter.grad /= tally.weight or 1.0
        return tally

    def _gradients(self, micro_batches: list[list[int]], overview: Overview) -> Tally:
        """Add up this process's gradients of the sum of losses."""
        tally = Tally()
        for indices in micro_batches:
            if mine := self.learner.team.share(indices, self.train.costs):
                batch, loss = self.learner.loss(self.train, mine, overview)
                _refuse_non_finite(batch, loss)
                loss.terms.sum().backward()  # type: ignore[no-untyped-call]
                tally.add(batch, loss)
        return tally

    def _rows(self, micro_batches: list[list[int]]) -> list[str]:
        return [self.train.groups[index].id for indices in micro_batches for index in indices]

    def _set_rate(self) -> float:
        config = self.learner.config
        rate = params.rate_at(
            self.step,
            peak=config.learning_rate,
            warmup=config.warmup(self.total),
            total=self.total,
            schedule=config.schedule,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _clip(self, micro_batches: list[list[int]]) -> float:
        parameters = [p for p in self.learner.model.parameters() if p.grad is not None]
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, self.learner.config.max_grad_norm))
        if not math.isfinite(norm):
            raise RunError(f"The gradient of step {self.step + 1} is not finite.", self._rows(micro_batches))
        return norm

    def _at_intervals(self) -> None:
        config = self.learner.config
        if config.evaluate_every and self.step % config.evaluate_every == 0 and len(self.validation):
            tally = evaluate(self.learner, self.validation)[0]
            self.progress.metrics(self.step, {f"eval_{name}": value for name, value in tally.means().items()})
        if self.step % config.checkpoint_every == 0:
            self.save()


def split_batches(micro_batches: list[list[int]], halvings: int) -> list[list[int]]:
    """Each micro-batch cut into 2^halvings nearly equal parts, none empty."""
    parts = 2**halvings
    cut = []
    for indices in micro_batches:
        size = math.ceil(len(indices) / parts)
        cut += [indices[at : at + size] for at in range(0, len(indices), size)]
    return cut


def evaluate(
    learner: Learner, split: Split, after_batch: Callable[[int], None] = lambda _done: None
) -> tuple[Tally, list[tuple[float, ...]]]:
    """Loss and metrics over a split, and the reward of each completion of each group, in order."""
    tally = Tally()
    rewards: dict[int, tuple[float, ...]] = {}
    overview = learner.overview(split, range(len(split)))
    mine = learner.team.share(range(len(split)), split.costs)
    for indices in fill(mine, split.groups, learner.config.tokens_per_batch, padded=learner.path == "padded"):
        with torch.inference_mode():
            batch, loss = learner.loss(split, indices, overview)
        _refuse_non_finite(batch, loss)
        tally.add(batch, loss)
        values = iter(loss.rewards.tolist())
        for index, group in zip(indices, batch.groups, strict=True):
            rewards[index] = tuple(next(values) for _ in group.completions)
        after_batch(len(rewards))
    found = {index: values for part in learner.team.gather(rewards) for index, values in part.items()}
    return tally.together(learner.team), [found[index] for index in range(len(split))]


@torch.no_grad()
def observed(learner: Learner, split: Split) -> Iterator[tuple[Batch, Outputs]]:
    """What the model says of a split, batch by batch, without gradients."""
    for indices in fill(
        range(len(split)), split.groups, learner.config.tokens_per_batch, padded=learner.path == "padded"
    ):
        batch, outputs, _ = learner.forward(split, indices)
        yield batch, outputs


def _refuse_non_finite(batch: Batch, loss: Loss) -> None:
    finite = torch.isfinite(loss.terms)
    if not bool(finite.all()):
        rows = [batch.groups[number].id for number in sorted(set(loss.groups[~finite].tolist()))]
        raise RunError(f"The loss is not finite (rows {', '.join(rows[:3])}).", rows)
