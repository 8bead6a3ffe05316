"""The process that trains: `python -m training.run RUN_DIR`.

Reads `run.json` of the folder and writes into it: `preflight.json`, `state.json`, `metrics.jsonl`, `checkpoints/`,
`scores.jsonl`, `model/` and `result.json`. Started again in the same folder it goes on from the last good checkpoint.
With `--preflight` it stops after the first of these files.
`accelerate launch --multi_gpu --num_processes 2 -m training.run RUN_DIR` trains the same model in several processes.
Exit codes: 0 finished, 3 cancelled (the file `cancel`, or SIGTERM), 1 failed; `result.json` says why in one sentence.
"""

import argparse
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.engine import loading
from training.engine.checkpoint import clear_leftovers, publish
from training.engine.doubting import doubted_by_votes
from training.engine.errors import CancelledError, RunError
from training.engine.files import file_list, replace_json, replace_lines
from training.engine.gating import settle
from training.engine.learner import Learner, Split
from training.engine.loop import Trainer
from training.engine.measuring import evaluate
from training.engine.parts import head_differences, segment_scores
from training.engine.progress import Stop
from training.engine.reference_policy import ReferencePolicy
from training.engine.scores import score_line, scored_pairs
from training.engine.setup import SPLITS, Setup, Tokens
from training.engine.team import leave
from training.engine.tuning import merged, merged_into, save_adapters
from training.evaluation.accuracy import ScoredPair
from training.evaluation.localisation import localisation
from training.evaluation.report import evaluate_pairs
from training.evaluation.spread import ensemble_spread

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

FINISHED, FAILED, CANCELLED = 0, 1, 3
_SHOWN_ROWS = 100


class Run:
    """One training run in its folder; `execute` is the whole of it."""

    def __init__(self, run_dir: Path, stop: Stop) -> None:
        self.begin = time.monotonic()
        self.setup = Setup(run_dir, stop)
        self.trainer: Trainer | None = None

    def execute(self) -> dict[str, Any]:
        """Load, train, evaluate, save. Returns the content of `result.json`; raises RunError or CancelledError."""
        setup = self.setup
        learner, tokenizer, tokens = self.prepare()
        reference = ReferencePolicy(setup, learner)
        splits = reference.splits(tokens)
        if "tokens" in learner.objective.needs:
            splits = reference.token_rewards(tokenizer, splits)
        more: dict[str, Any] = {"reference_forwards": reference.forwards}
        if "peers" in learner.objective.needs:
            train, more["votes"] = doubted_by_votes(setup, learner, splits["train"])
            splits = splits | {"train": train}
        self._train(learner, splits)
        if getattr(learner.model, "gate", None) is not None:
            settle(learner, splits["train"], setup.config.seed)
        evaluation = self._evaluate(learner, splits)
        files = self._save(learner, tokenizer) if setup.team.leads else []
        setup.progress.enter("done")
        return {**self.outcome("finished"), "evaluation": evaluation, "files": files, **more}

    def prepare(self) -> tuple[Learner, "PreTrainedTokenizerFast", Tokens]:
        """Load everything and write `preflight.json`; raises as `execute`."""
        self.setup.progress.enter("loading")
        if self.setup.team.leads:
            clear_leftovers(self.setup.run_dir)
        loading.check_folder(self.setup.base)
        tokenizer = loading.load_tokenizer(self.setup.base)
        tokens, reports = self.setup.read(tokenizer)
        return self.setup.learner(tokenizer, tokens, reports), tokenizer, tokens

    def outcome(self, status: str, error: str | None = None, rows: list[str] | None = None) -> dict[str, Any]:
        """The part of `result.json` that every ending has."""
        done = {"steps": self.trainer.step, "tokens": self.trainer.tokens} if self.trainer else {}
        return {**blank_result(status, error, rows), **done, "seconds": time.monotonic() - self.begin}

    def _train(self, learner: Learner, splits: dict[str, Split]) -> None:
        fingerprint = self.setup.config.fingerprint(self.setup.base_hash, self.setup.reference_hash)
        watched = splits["validation"] if len(splits["validation"]) else splits["test"]
        self.trainer = Trainer(
            learner, splits["train"], watched, self.setup.run_dir, fingerprint, self.setup.progress, self.setup.stop
        )
        self.trainer.run()

    def _evaluate(self, learner: Learner, splits: dict[str, Split]) -> dict[str, Any]:
        setup = self.setup
        setup.progress.enter("evaluating")
        scored: list[tuple[str, ScoredPair]] = []
        evaluation: dict[str, Any] = {}
        for name in SPLITS[1:]:
            split = splits[name]
            tally, rewards = evaluate(learner, split, lambda _done: setup.stop.check())
            scores = zip(split.groups, rewards, strict=True)
            pairs = [pair for group, values in scores for pair in scored_pairs(group, values)]
            scored += [(name, pair) for pair in pairs]
            if len(split):
                loss = tally.means()["loss"]
                evaluation[name] = {
                    **evaluate_pairs(pairs, seed=setup.config.seed),
                    "loss": loss,
                    "rows": len(split),
                }
                evaluation[name] |= self._of_parts(learner, split)
        if setup.team.leads:
            replace_lines(setup.run_dir / "scores.jsonl", [score_line(name, pair) for name, pair in scored])
        return evaluation

    def _of_parts(self, learner: Learner, split: Split) -> dict[str, Any]:
        """What there is to say of an ensemble's heads, or of the segments that a model judges."""
        if "heads" in learner.objective.defaults:
            return {"ensemble": ensemble_spread(*head_differences(learner, split))}
        if "segments" in learner.objective.needs:
            types = list(self.setup.traits)
            return {"segments": localisation(*segment_scores(learner, split, len(types)), types)}
        return {}

    def _save(self, learner: Learner, tokenizer: "PreTrainedTokenizerFast") -> list[dict[str, Any]]:
        """A whole model, and the adapters that it was made with in its folder `adapter`, if any."""
        self.setup.progress.enter("saving")
        folder, adapters, model = self.setup.run_dir / "model", self.setup.run_dir / ".adapter.tmp", learner.model
        if self.setup.adapted is not None:
            save_adapters(self.setup.adapted, adapters)
            model = self._merged(learner, adapters)

        def publish_both(temporary: Path, final: Path) -> None:
            if adapters.exists():
                os.replace(adapters, temporary / "adapter")
            publish(temporary, final)

        loading.save_model(model, tokenizer, folder, publish_both)
        return file_list(folder, self.setup.run_dir)

    def _merged(self, learner: Learner, adapters: Path) -> "PreTrainedModel":
        assert self.setup.adapted is not None
        if self.setup.config.tuning != "qlora":
            return merged(self.setup.adapted)
        settings = learner.model.config
        fresh = merged_into(self.setup.load(self.setup.base, learner.objective, learner.path, whole=True), adapters)
        fresh.config.pad_token_id = settings.pad_token_id
        return fresh


def execute(run_dir: Path, *, only_preflight: bool = False) -> int:
    """Run to an end, write `result.json`, return the exit code. A run that has finished already is left as it is.

    With `only_preflight` nothing is learned: `preflight.json` is all that is written, `result.json` only of a failure.
    """
    result, leads = run_dir / "result.json", os.environ.get("RANK", "0") == "0"
    if already_finished(result):
        return FINISHED
    if leads:
        result.unlink(missing_ok=True)
    stop = Stop(run_dir)
    stop.listen()
    run: Run | None = None
    try:
        run = Run(run_dir, stop)
        if only_preflight:
            run.prepare()
            return FINISHED
        answer, code = run.execute(), FINISHED
    except CancelledError:
        answer, code = ended(run, "cancelled"), CANCELLED
    except RunError as error:
        answer, code = ended(run, "failed", str(error), error.rows), FAILED
    except Exception as error:  # the process's outermost edge: whatever it was, the run must say that it failed
        traceback.print_exc()
        answer, code = ended(run, "failed", f"The run stopped on an unexpected {type(error).__name__}: {error}"), FAILED
    finally:
        leave()
    if leads:
        replace_json(result, answer)
    return code


def ended(run: Run | None, status: str, error: str | None = None, rows: list[str] | None = None) -> dict[str, Any]:
    """Content of `result.json` for a run that did not finish, perhaps before it began."""
    if run is not None:
        return run.outcome(status, error, rows)
    return blank_result(status, error, rows)


def blank_result(status: str, error: str | None = None, rows: list[str] | None = None) -> dict[str, Any]:
    """`result.json` of a run in which nothing happened yet."""
    return {
        "status": status,
        "error": error,
        "error_rows": (rows or [])[:_SHOWN_ROWS],
        "steps": 0,
        "tokens": 0,
        "seconds": 0.0,
        "evaluation": {},
        "files": [],
    }


def already_finished(result: Path) -> bool:
    """Whether an earlier start of this run came to its end."""
    try:
        return bool(json.loads(result.read_text(encoding="utf-8"))["status"] == "finished")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.run", description=__doc__.splitlines()[0])
    parser.add_argument("run_dir", type=Path, help="folder with run.json")
    parser.add_argument("--preflight", action="store_true", help="write preflight.json and learn nothing")
    options = parser.parse_args(arguments)
    run_dir: Path = options.run_dir
    if not run_dir.is_dir():
        print(f"There is no folder {run_dir}.", file=sys.stderr)
        return FAILED
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    return execute(run_dir.resolve(), only_preflight=options.preflight)


if __name__ == "__main__":
    sys.exit(main())
