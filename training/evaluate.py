"""The process that evaluates a model on rows that it may never have seen: `python -m training.evaluate FOLDER`.

Reads `evaluation.json` of the folder and writes into it `state.json`, `scores.jsonl` and `result.json`.
"""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import Field

from training.engine import loading
from training.engine.config import Positive, RunConfig, parse_config
from training.engine.errors import RunError
from training.engine.files import replace_lines
from training.engine.learner import Learner, Split
from training.engine.marks import Marks, read_marks
from training.engine.measuring import evaluate
from training.engine.parts import head_differences
from training.engine.progress import Progress, Stop
from training.engine.readers.files import read_groups
from training.engine.readers.groups import prompt_id_of
from training.engine.records import file_rows
from training.engine.reference import compute_values, group_keys
from training.engine.score_heads import score_heads
from training.engine.scores import score_line, scored_pairs
from training.engine.segments import segmenting_of
from training.engine.setup import choose_device, choose_path
from training.engine.tokens import Lengths, TokenGroup, tokenise
from training.evaluation.accuracy import ScoredPair
from training.evaluation.forgetting import Text, forgetting
from training.evaluation.report import evaluate_pairs
from training.evaluation.rewardbench import section_scores
from training.evaluation.spread import ensemble_spread
from training.generation.best_of_n import score_groups
from training.process import Wishes, main, read_wishes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Logps = list[tuple[float, ...]]
_INSTANCE_ID = 36  # characters


class EvaluationWishes(Wishes):
    """The whole of `evaluation.json`. Paths are absolute; `marks` is a JSONL file of what is known of
    instances (`id`), with whose ids those of rows begin.

    `objective` says how a model's reward is read; `reference` is the model that a policy started from; `trained_on`
    are the files whose prompts the model has seen.
    """

    schema_version: Literal[1] = Field(alias="schema")
    model: str
    reference: str | None = None
    objective: str
    objective_options: dict[str, Any] = {}
    shape: str
    files: list[str] = Field(min_length=1)
    marks: str | None = None
    trained_on: list[str] = []
    max_length: Positive = 512
    long_rows: Literal["drop", "error", "truncate-prompt-left"] = "truncate-prompt-left"
    tokens_per_batch: Positive = 4096
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: Positive | None = None

    def run_config(self) -> RunConfig:
        """The settings as the engine's loop takes them."""
        own = ("marks", "model", "reference", "files", "shape", "schema_version", "trained_on")
        return parse_config(
            {
                **self.model_dump(exclude=set(own)),
                "schema": 1,
                "base_model": self.model,
                "data": {"shape": self.shape, "train": self.files},
            }
        )


class Evaluation:
    """One evaluation in its folder."""

    def __init__(self, folder: Path, stop: Stop) -> None:
        self.folder, self.stop = folder, stop
        self.wishes = read_wishes(folder / "evaluation.json", EvaluationWishes)
        self.config = self.wishes.run_config()
        if self.config.threads:
            torch.set_num_threads(self.config.threads)
        self.device = choose_device(self.config)
        self.progress = Progress(folder, self.device)

    def work(self) -> dict[str, Any]:
        """Score every row. Returns the content of `result.json`; raises RunError or CancelledError."""
        self.progress.enter("loading")
        model_folder = Path(self.wishes.model)
        loading.check_folder(model_folder)
        groups, rows = self._read(model_folder)
        longest = max(group.longest for group in groups)
        path = choose_path(self.config, self.device, packable=loading.can_pack(model_folder, longest))
        learner = Learner(self._load(model_folder, packed=path != "padded"), self.config.taught, self.config, path)
        self.progress.total_steps = len(groups)
        policy = "scores" not in learner.objective.needs
        reference = self._reference_logps(learner, groups) if policy else None
        rewards, loss = self._rewards(learner, groups, reference)
        pairs = self._pairs(groups, rewards)
        replace_lines(self.folder / "scores.jsonl", [score_line("test", pair) for pair in pairs])
        report = {**evaluate_pairs(pairs, seed=self.config.seed), "loss": loss, "rows": len(groups)}
        seen = seen_prompts(self.wishes.trained_on)
        report["leaked_prompts"] = len({group.prompt_id for group in groups} & seen)
        report["benchmark"] = section_scores(pairs, seed=self.config.seed)
        if reference is not None:
            report["forgetting"] = self._forgetting(learner, groups, reference)
        elif "heads" in learner.objective.defaults:
            report["ensemble"] = self._spread(learner, groups)
        return {"report": report, "read": rows}

    def _read(self, folder: Path) -> tuple[list[TokenGroup], dict[str, Any]]:
        limit = loading.position_limit(folder)
        longest = min(self.config.max_length, limit) if limit else self.config.max_length
        found = read_groups(self.wishes.files, self.config.reader)
        lengths = Lengths(longest, None, self.config.long_rows)
        segmenting = segmenting_of(SimpleNamespace(**loading.check_folder(folder)))
        groups, report = tokenise(found, loading.load_tokenizer(folder), lengths, segmenting)
        if not groups:
            reasons = "; ".join(f"{len(ids)} {reason}" for reason, ids in report.dropped.items())
            raise RunError(f"No row is left to evaluate on ({reasons or 'the files are empty'}).")
        return groups, {**report.as_json(), "rendered": []}

    def _load(self, folder: Path, *, packed: bool) -> "PreTrainedModel":
        head: loading.Head = "reward" if "scores" in self.config.taught.needs else "policy"
        heads = score_heads(loading.check_folder(folder)) or 1
        model = loading.load_model(folder, head, packed=packed, device=self.device, heads=heads)
        model.config.reads_pairs = self.config.reader == "ordered"
        return model

    def _reference_logps(self, learner: Learner, groups: list[TokenGroup]) -> Logps:
        if self.wishes.reference is None:
            raise RunError("A policy is evaluated against the model that it started from; none is named.")
        folder = Path(self.wishes.reference)
        model = self._load(folder, packed=learner.path != "padded")
        if model.config.vocab_size != learner.model.config.vocab_size:
            raise RunError("The reference model has another vocabulary than the policy.")
        return self._logps(model, learner, groups, "The model before training")

    def _logps(self, model: "PreTrainedModel", learner: Learner, groups: list[TokenGroup], words: str) -> Logps:
        keys = group_keys(groups, "", self.config.precision)
        values = compute_values(
            model,
            groups,
            keys,
            path=learner.path,
            budget=self.config.tokens_per_batch,
            precision=self.config.precision,
            after_batch=lambda done: self._say(done, words),
        )
        return [tuple(values[key] for key in group) for group in keys]

    def _say(self, done: int, words: str) -> None:
        self.progress.phase, self.progress.step, self.progress.message = "evaluating", done, words
        self.progress.write()
        self.stop.check()

    def _rewards(
        self, learner: Learner, groups: list[TokenGroup], reference: Logps | None
    ) -> tuple[Logps, float | None]:
        """The reward of each completion; with a loss where the objective compares by itself."""
        if reference is None and not learner.model.config.reads_pairs:
            budget = self.config.tokens_per_batch
            scores = score_groups(learner.model, groups, budget, lambda done: self._say(done, ""))
            return [tuple(values) for values in scores], None
        needed = reference if "ref_logps" in learner.objective.needs else None
        tally, rewards = evaluate(learner, Split(groups, needed), lambda done: self._say(done, ""))
        return rewards, tally.means()["loss"] if tally.weight else None

    def _pairs(self, groups: list[TokenGroup], rewards: Logps) -> list[ScoredPair]:
        marks = self._marks({group.id for group in groups})
        return [
            replace(pair, marks=marks.get(group.id, {}))
            for group, values in zip(groups, rewards, strict=True)
            for pair in scored_pairs(group, values)
        ]

    def _marks(self, rows: set[str]) -> dict[str, Marks]:
        """What is known of rows, by their ids: of the instance that they are of, or else what their files say."""
        found = {name: marks for path in self.wishes.files for name, marks in read_marks(Path(path), rows).items()}
        if self.wishes.marks:
            rows_of: dict[str, list[str]] = {}
            for row in rows:
                rows_of.setdefault(row[:_INSTANCE_ID], []).append(row)
            for instance, marks in read_marks(Path(self.wishes.marks), rows_of).items():
                found |= dict.fromkeys(rows_of[instance], marks)
        return found

    def _forgetting(self, learner: Learner, groups: list[TokenGroup], reference: Logps) -> dict[str, Any] | None:
        """Of the completions that were preferred, or of all where none was."""
        logps = self._logps(learner.model, learner, groups, "The trained policy")
        return forgetting(
            [
                Text(group.prompt_id, len(group.completions[place]), now[place], before[place])
                for group, now, before in zip(groups, logps, reference, strict=True)
                for place in best_places(group)
            ],
            seed=self.config.seed,
        )

    def _spread(self, learner: Learner, groups: list[TokenGroup]) -> dict[str, Any] | None:
        return ensemble_spread(*head_differences(learner, Split(groups)))


def seen_prompts(paths: list[str]) -> set[str]:
    """The ids of the prompts in the rows of files."""
    rows = (row for path in paths for _, row in file_rows(Path(path)) if isinstance(row, dict) and "prompt" in row)
    return {prompt_id_of(row) for row in rows}


def best_places(group: TokenGroup) -> list[int]:
    """The completions of a group that none was preferred over."""
    worse = {
        edge.right if edge.probability > 0.5 else edge.left for edge in group.preferences if edge.probability != 0.5
    }
    return [place for place in range(len(group.completions)) if place not in worse]


if __name__ == "__main__":
    sys.exit(main("training.evaluate", __doc__.splitlines()[0], lambda folder, stop: Evaluation(folder, stop).work()))
