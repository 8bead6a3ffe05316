"""The one training loop: steps of micro-batches with one common denominator, watched, saved and resumable."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from training.engine import checkpoint as checkpoints
from training.engine import params
from training.engine.checkpoint import Checkpoint
from training.engine.errors import CancelledError, RunError
from training.engine.learner import Learner, Split
from training.engine.measuring import Tally, evaluate, refuse_non_finite
from training.engine.memory import split_batches
from training.engine.preflight import make_plan
from training.engine.progress import Progress, Stop


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
        team = self.learner.team
        tallies = [one for one in team.outcomes(lambda: self._gradients(micro_batches)) if one is not None]
        if len(tallies) < team.size:
            return None
        tally = Tally.of(tallies)
        learning = [parameter for parameter in self.learner.model.parameters() if parameter.requires_grad]
        team.add_gradients(learning)
        for parameter in learning:
            if parameter.grad is not None:
                parameter.grad /= tally.weight or 1.0
        return tally

    def _gradients(self, micro_batches: list[list[int]]) -> Tally | None:
        """Add up this process's gradients of the sum of losses; None where memory was short."""
        tally = Tally()
        overview = self.learner.overview(self.train, [index for indices in micro_batches for index in indices])
        try:
            for indices in micro_batches:
                if mine := self.learner.team.share(indices, self.train.costs):
                    batch, loss = self.learner.loss(self.train, mine, overview)
                    refuse_non_finite(batch, loss)
                    loss.terms.sum().backward()  # type: ignore[no-untyped-call]
                    tally.add(batch, loss)
        except torch.OutOfMemoryError:
            return None
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
