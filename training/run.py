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
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from training.engine import loading
from training.engine.batches import mismatched
from training.engine.checkpoint import clear_leftovers, publish
from training.engine.config import RunConfig, load_config
from training.engine.contrast import BAD, GOOD, asked_for, rewards_of_tokens
from training.engine.errors import CancelledError, RunError
from training.engine.files import file_list, replace_json, replace_lines, sha256_json
from training.engine.gate import attach, detach
from training.engine.gating import settle
from training.engine.learner import Learner, Split
from training.engine.loop import Trainer
from training.engine.measuring import evaluate
from training.engine.pack import Path as AttentionPath
from training.engine.pack import best_path
from training.engine.parts import head_differences, segment_scores
from training.engine.preflight import preflight
from training.engine.progress import Progress, Stop, VoteProgress
from training.engine.readers.attributes import valued
from training.engine.readers.files import read_groups, traits_of
from training.engine.records import Group, Text
from training.engine.reference import (
    ReferenceCache,
    Values,
    compute_values,
    group_keys,
    load_values,
    store_values,
)
from training.engine.segments import Segmenting
from training.engine.team import join, leave
from training.engine.token_store import TokenStore
from training.engine.tokens import Lengths, Report, TokenGroup, tokenise, tokenizer_hash
from training.engine.tuning import choose_weights, merged, merged_into, quantisation, save_adapters, without_adapters
from training.engine.votes import relabelled, strengths_by_votes
from training.evaluation.accuracy import ScoredPair
from training.evaluation.localisation import localisation
from training.evaluation.report import evaluate_pairs
from training.evaluation.spread import ensemble_spread
from training.objectives.catalogue import Objective
from training.objectives.type_weights import parse_type_weights
from training.objectives.voting import doubted

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

FINISHED, FAILED, CANCELLED = 0, 1, 3
_SHOWN_ROWS = 100
_SPLITS = ("train", "test", "validation")


class Run:
    """One training run in its folder; `execute` is the whole of it."""

    def __init__(self, run_dir: Path, stop: Stop) -> None:
        self.run_dir = run_dir
        self.stop = stop
        self.config: RunConfig = load_config(run_dir / "run.json")
        if self.config.threads:
            torch.set_num_threads(self.config.threads)
        self.team, self.device = join(choose_device(self.config))
        self.stop.deaf = not self.team.leads
        self.progress = Progress(run_dir, self.device, silent=not self.team.leads)
        self.begin = time.monotonic()
        self.base = Path(self.config.base_model)
        self.reference = Path(self.config.reference_model or self.base)
        self.trainer: Trainer | None = None
        self.traits: tuple[str, ...] = ()  # attributes or error types of the training data
        self.prompts: dict[str, Text] = {}  # by prompt id
        self.votes: dict[str, int] | None = None
        self.compares = False  # whether the training data hold preferences
        self.adapted: PeftModel | None = None
        self.reference_forwards = 0

    @cached_property
    def base_hash(self) -> str:
        """Hash of the base model's weights."""
        return loading.weights_hash(self.base)

    @cached_property
    def reference_hash(self) -> str:
        """Hash of the reference model's weights."""
        return self.base_hash if self.reference == self.base else loading.weights_hash(self.reference)

    def execute(self) -> dict[str, Any]:
        """Load, train, evaluate, save. Returns the content of `result.json`; raises RunError or CancelledError."""
        learner, tokenizer, tokens = self.prepare()
        splits = self._token_rewards(learner, tokenizer, self._splits(learner, tokens))
        splits = self._doubted(learner, splits)
        self._train(learner, splits)
        if getattr(learner.model, "gate", None) is not None:
            settle(learner, splits["train"], self.config.seed)
        evaluation = self._evaluate(learner, splits)
        files = self._save(learner, tokenizer) if self.team.leads else []
        self.progress.enter("done")
        more = {"reference_forwards": self.reference_forwards} | ({"votes": self.votes} if self.votes else {})
        return {**self.outcome("finished"), "evaluation": evaluation, "files": files, **more}

    def prepare(self) -> tuple[Learner, "PreTrainedTokenizerFast", dict[str, list[TokenGroup]]]:
        """Load everything and write `preflight.json`; raises as `execute`."""
        self.progress.enter("loading")
        if self.team.leads:
            clear_leftovers(self.run_dir)
        loading.check_folder(self.base)
        tokenizer = loading.load_tokenizer(self.base)
        tokens, reports = self._read(tokenizer)
        return self._learner(tokenizer, tokens, reports), tokenizer, tokens

    def outcome(self, status: str, error: str | None = None, rows: list[str] | None = None) -> dict[str, Any]:
        """The part of `result.json` that every ending has."""
        done = {"steps": self.trainer.step, "tokens": self.trainer.tokens} if self.trainer else {}
        return {**blank_result(status, error, rows), **done, "seconds": time.monotonic() - self.begin}

    def _read(self, tokenizer: "PreTrainedTokenizerFast") -> tuple[dict[str, list[TokenGroup]], dict[str, Report]]:
        config = self.config
        limit = loading.position_limit(self.base)
        longest = min(config.max_length, limit) if limit else config.max_length
        lengths = Lengths(longest, config.max_prompt_length, config.long_rows)
        store = TokenStore(Path(config.token_cache), tokenizer_hash(tokenizer)) if config.token_cache else None
        tokens: dict[str, list[TokenGroup]] = {}
        reports: dict[str, Report] = {}
        for split in _SPLITS:
            groups = self._groups(split)
            self.prompts |= {group.prompt_id: group.prompt for group in groups}
            if split == "train":
                self.traits = traits_of(config.taught, groups)
            tokens[split], reports[split] = tokenise(
                valued(groups, self.traits), tokenizer, lengths, self._segmenting(), store
            )
            self.stop.check()
        if not tokens["train"]:
            rows = [row for ids in reports["train"].dropped.values() for row in ids]
            reasons = "; ".join(f"{len(ids)} {reason}" for reason, ids in reports["train"].dropped.items())
            raise RunError(f"No training row is left with tokens to score ({reasons or 'the files are empty'}).", rows)
        self.compares = any(group.preferences for group in tokens["train"])
        return tokens, reports

    def _groups(self, split: str) -> list[Group]:
        options, data = self.config.objective_options, self.config.data
        read = partial(
            read_groups,
            margin_scale=options.margin_scale,
            directions=options.directions,
            unmarked=options.unmarked,
        )
        groups = read(getattr(data, split), self.config.reader)
        if data.beside is not None:
            reader = self.config.taught.beside[data.beside.shape]
            groups += read(getattr(data.beside, split), reader)
        return groups

    def _segmenting(self) -> Segmenting | None:
        if "segments" not in self.config.taught.needs:
            return None
        return Segmenting(self.config.objective_options.segment, self.traits)

    def _learner(
        self,
        tokenizer: "PreTrainedTokenizerFast",
        tokens: dict[str, list[TokenGroup]],
        reports: dict[str, Report],
    ) -> Learner:
        config, objective = self.config, self.config.taught
        longest = max(group.longest for groups in tokens.values() for group in groups)
        path = choose_path(config, self.device, packable=loading.can_pack(self.base, longest))
        model = self._load(self.base, objective, path)
        if "scores" in objective.needs:
            ends = {ids[-1] for groups in tokens.values() for group in groups for ids in group.completions}
            loading.ensure_pad(model, tokenizer, ends)
        self.adapted = choose_weights(
            model, config.tuning, seed=config.seed, rank=config.lora_rank, alpha=config.lora_alpha
        )
        report = preflight(model, tokenizer, config, path, tokens, reports)
        if self.team.leads:
            replace_json(self.run_dir / "preflight.json", {**report, "processes": self.team.size})
        self.stop.check()
        return Learner(model, objective, config, path, self.team)

    def _load(
        self,
        folder: Path,
        objective: Objective,
        path: AttentionPath,
        seed: int | None = None,
        *,
        whole: bool = False,
    ) -> "PreTrainedModel":
        """A model as this run needs it; `whole` leaves its weights as they are, where the run holds 4 bits."""
        head: loading.Head = "reward" if "scores" in objective.needs else "policy"
        options, heads, packed = self.config.objective_options, self.heads, path != "padded"
        model = loading.load_model(
            folder,
            head,
            packed=packed,
            device=self.device,
            seed=self.config.seed if seed is None else seed,
            heads=heads,
            how={} if whole else quantisation(self.config.tuning, self.device),
        )
        # said of every model: the base may have been trained another way
        combination = {"how": options.combine, "uncertainty_weight": options.uncertainty_weight}
        model.config.combination = combination if "combine" in objective.defaults else None
        model.config.segment_rewards = self._segment_rewards()
        if "rewards" in objective.needs and "segments" not in objective.needs:
            attach(model, list(self.traits), options.gate_width, self.config.seed)
        else:
            detach(model)
        model.config.reads_pairs = self.config.reader == "ordered"
        return model

    @property
    def heads(self) -> int:
        """How many score heads the model has, if it has any."""
        return self.config.heads or len(self.traits) + ("segments" in self.config.taught.needs)

    def _segment_rewards(self) -> dict[str, Any] | None:
        """How the model makes a reward of the error types of each segment; completeness counts only where it was
        learned."""
        segmenting = self._segmenting()
        if segmenting is None:
            return None
        options = self.config.objective_options
        given = parse_type_weights(options.type_weights)
        if foreign := sorted(set(given) - set(self.traits)):
            known = ", ".join(self.traits)
            raise RunError(f"No span of the training data is {foreign[0]}; the error types are {known}.")
        weights = [given.get(name, 1.0) for name in self.traits]
        weights.append(options.completeness_weight if self.compares else 0.0)
        return {"segment": segmenting.style, "types": list(self.traits), "weights": weights}

    def _splits(self, learner: Learner, tokens: dict[str, list[TokenGroup]]) -> dict[str, Split]:
        if "ref_logps" not in learner.objective.needs:
            return {split: Split(tokens[split]) for split in _SPLITS}
        others: dict[str, list[TokenGroup]] = {split: [] for split in _SPLITS}
        if "divergence" in learner.objective.needs:
            longest = max(group.longest for groups in tokens.values() for group in groups)
            others = {split: mismatched(tokens[split], tokens["train"], longest) for split in _SPLITS}
        everything = [group for split in _SPLITS for group in (*tokens[split], *others[split])]
        keys = group_keys(everything, self.reference_hash, self.config.precision)
        values = self._reference_values(learner, everything, keys)
        references = iter([tuple(values[key] for key in group) for group in keys])

        def with_references(groups: list[TokenGroup]) -> Split:
            return Split(groups, [next(references) for _ in groups])

        splits = {split: (with_references(tokens[split]), with_references(others[split])) for split in _SPLITS}
        return {split: replace(own, mismatched=other if len(other) else None) for split, (own, other) in splits.items()}

    def _reference_values(self, learner: Learner, groups: list[TokenGroup], keys: list[tuple[bytes, ...]]) -> Values:
        """This run's own values are pinned in its folder, so that a resumed run sees the very same numbers."""
        pinned, team = self.run_dir / "reference.safetensors", self.team
        wanted = {key for group in keys for key in group}
        values = team.first(load_values(pinned))
        if wanted <= values.keys():
            return values
        cache_folder = Path(self.config.reference_cache or self.run_dir / "reference")
        cache = ReferenceCache(cache_folder, self.reference_hash)
        values = team.first({**cache.load(), **values} if team.leads else values)
        missing = [number for number, group in enumerate(keys) if any(key not in values for key in group)]
        if missing:
            self.reference_forwards = sum(len(groups[number].completions) for number in missing)
            mine = team.share(missing, [group.packed_tokens for group in groups])
            computed = self._computed(learner, [groups[n] for n in mine], [keys[n] for n in mine])
            values |= {key: value for part in team.gather(computed) for key, value in part.items()}
        values = {key: values[key] for key in sorted(wanted)}
        if team.leads:
            cache.add({key: values[key] for number in missing for key in keys[number]})
            store_values(pinned, values)
        return values

    def _computed(self, learner: Learner, groups: list[TokenGroup], keys: list[tuple[bytes, ...]]) -> Values:
        self.progress.enter("reference")
        own = self.reference == self.base
        model = learner.model if own else self._load(self.reference, learner.objective, learner.path)
        if model.config.vocab_size != learner.model.config.vocab_size:
            raise RunError("The reference model has another vocabulary than the base model.")

        with without_adapters(self.adapted):
            return compute_values(
                model,
                groups,
                keys,
                path=learner.path,
                budget=self.config.tokens_per_batch,
                precision=self.config.precision,
                after_batch=self._counted("", len(groups)),
            )

    def _token_rewards(
        self, learner: Learner, tokenizer: "PreTrainedTokenizerFast", splits: dict[str, Split]
    ) -> dict[str, Split]:
        """The splits with a reward of each token by the reference policy, where the objective reads them."""
        if "tokens" not in learner.objective.needs:
            return splits
        self.progress.enter("reference")
        own = self.reference == self.base
        model = learner.model if own else self._load(self.reference, learner.objective, learner.path)
        rewarded = {}
        for name, split in splits.items():
            longest = loading.position_limit(self.base) or 2 * self.config.max_length
            good, bad = (asked_for(line, split.groups, self.prompts, tokenizer, longest) for line in (GOOD, BAD))
            with without_adapters(self.adapted):
                rewards = rewards_of_tokens(
                    model,
                    good,
                    bad,
                    path=choose_path(self.config, self.device, packable=loading.can_pack(self.base, longest)),
                    budget=self.config.tokens_per_batch,
                    precision=self.config.precision,
                    after_batch=self._counted("rewards of the tokens of", 2 * len(split)),
                )
            rewarded[name] = replace(split, token_rewards=rewards)
        return rewarded

    def _counted(self, what: str, whole: int) -> Callable[[int], None]:
        def after_batch(done: int) -> None:
            self.progress.message = f"{what} {done} of {whole} rows".strip()
            self.progress.write()
            self.stop.check()

        return after_batch

    def _doubted(self, learner: Learner, splits: dict[str, Split]) -> dict[str, Split]:
        """The splits with the training labels as reward models of other prompts leave them, where the objective lets
        them vote."""
        if "peers" not in learner.objective.needs:
            return splits
        options, folder, split = self.config.objective_options, self.run_dir / "votes", splits["train"]

        def train(half: Split, number: int) -> Learner:
            seed = self.config.seed + 1 + number
            config = self.config.model_copy(update={"objective": "bt", "seed": seed})
            model = self._load(self.base, config.taught, learner.path, seed, whole=True)
            voter = Learner(model, config.taught, config, learner.path, self.team)
            place = folder / str(number)
            place.mkdir(parents=True, exist_ok=True)
            said = f"Vote {number + 1} of {2 * options.rounds}"
            progress = VoteProgress(self.run_dir, self.device, said, silent=not self.team.leads)
            fingerprint = sha256_json([self.config.fingerprint(self.base_hash, None), number])
            Trainer(voter, half, Split([]), place, fingerprint, progress, self.stop).run()
            return voter

        strengths = strengths_by_votes(split, options.rounds, train, folder, self.team)
        given = np.array([edge.probability for group in split.groups for edge in group.preferences])
        labels = doubted(
            strengths,
            given,
            flip_share=options.flip_share,
            soften_share=options.soften_share,
            vote_margin=options.vote_margin,
        )
        self.votes = {"pairs": len(given), "flipped": int(labels.flipped.sum()), "softened": int(labels.softened.sum())}
        for number in range(2 * options.rounds if self.team.leads else 0):
            shutil.rmtree(folder / str(number), ignore_errors=True)
        return splits | {"train": relabelled(split, labels)}

    def _train(self, learner: Learner, splits: dict[str, Split]) -> None:
        fingerprint = self.config.fingerprint(self.base_hash, self.reference_hash)
        watched = splits["validation"] if len(splits["validation"]) else splits["test"]
        self.trainer = Trainer(learner, splits["train"], watched, self.run_dir, fingerprint, self.progress, self.stop)
        self.trainer.run()

    def _evaluate(self, learner: Learner, splits: dict[str, Split]) -> dict[str, Any]:
        self.progress.enter("evaluating")
        scored: list[tuple[str, ScoredPair]] = []
        evaluation: dict[str, Any] = {}
        for name in _SPLITS[1:]:
            split = splits[name]
            tally, rewards = evaluate(learner, split, lambda _done: self.stop.check())
            scores = zip(split.groups, rewards, strict=True)
            pairs = [pair for group, values in scores for pair in scored_pairs(group, values)]
            scored += [(name, pair) for pair in pairs]
            if len(split):
                loss = tally.means()["loss"]
                evaluation[name] = {**evaluate_pairs(pairs, seed=self.config.seed), "loss": loss, "rows": len(split)}
                evaluation[name] |= self._of_parts(learner, split)
        if self.team.leads:
            replace_lines(self.run_dir / "scores.jsonl", [score_line(name, pair) for name, pair in scored])
        return evaluation

    def _of_parts(self, learner: Learner, split: Split) -> dict[str, Any]:
        """What there is to say of an ensemble's heads, or of the segments that a model judges."""
        if "heads" in learner.objective.defaults:
            return {"ensemble": ensemble_spread(*head_differences(learner, split))}
        if "segments" in learner.objective.needs:
            return {"segments": localisation(*segment_scores(learner, split, len(self.traits)), list(self.traits))}
        return {}

    def _save(self, learner: Learner, tokenizer: "PreTrainedTokenizerFast") -> list[dict[str, Any]]:
        """A whole model, and the adapters that it was made with in its folder `adapter`, if any."""
        self.progress.enter("saving")
        folder, adapters, model = self.run_dir / "model", self.run_dir / ".adapter.tmp", learner.model
        if self.adapted is not None:
            save_adapters(self.adapted, adapters)
            model = self._merged(learner, adapters)

        def publish_both(temporary: Path, final: Path) -> None:
            if adapters.exists():
                os.replace(adapters, temporary / "adapter")
            publish(temporary, final)

        loading.save_model(model, tokenizer, folder, publish_both)
        return file_list(folder, self.run_dir)

    def _merged(self, learner: Learner, adapters: Path) -> "PreTrainedModel":
        assert self.adapted is not None
        if self.config.tuning != "qlora":
            return merged(self.adapted)
        settings = learner.model.config
        fresh = merged_into(self._load(self.base, learner.objective, learner.path, whole=True), adapters)
        fresh.config.pad_token_id = settings.pad_token_id
        return fresh


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


def choose_device(config: RunConfig) -> torch.device:
    """The device of a run. Raises RunError where CUDA is asked for and absent, or bf16 for the CPU."""
    available = torch.cuda.is_available()
    if config.device == "cuda" and not available:
        raise RunError("This machine has no CUDA device; choose device auto or cpu.")
    device = torch.device("cuda" if available and config.device != "cpu" else "cpu")
    if config.precision == "bf16" and device.type == "cpu":
        raise RunError("Precision bf16 needs a CUDA device; choose fp32.")
    return device


def choose_path(config: RunConfig, device: torch.device, *, packable: bool) -> AttentionPath:
    """How batches are laid out: padded where packing would change the model, else as asked or as suits the device."""
    if not packable:
        return "padded"
    if config.attention == "auto":
        return best_path(device, config.precision)
    return config.attention


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
