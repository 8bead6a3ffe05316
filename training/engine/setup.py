"""What a training run works with: its folder, settings, place among processes, rows and models."""

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from training.engine import loading
from training.engine.config import RunConfig, load_config
from training.engine.errors import RunError
from training.engine.files import replace_json
from training.engine.gate import attach, detach
from training.engine.learner import Learner
from training.engine.pack import Path as AttentionPath
from training.engine.pack import best_path
from training.engine.preflight import preflight
from training.engine.progress import Progress, Stop
from training.engine.readers.attributes import valued
from training.engine.readers.files import read_groups, traits_of
from training.engine.records import Group, Text
from training.engine.segments import Segmenting
from training.engine.team import join
from training.engine.token_store import TokenStore
from training.engine.tokens import Lengths, Report, TokenGroup, tokenise, tokenizer_hash
from training.engine.tuning import choose_weights, quantisation
from training.objectives.catalogue import Objective
from training.objectives.type_weights import parse_type_weights

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

SPLITS = ("train", "test", "validation")
Tokens = dict[str, list[TokenGroup]]  # by split


class Setup:
    """One run's folder with everything that is read from it before anything is learned."""

    def __init__(self, run_dir: Path, stop: Stop) -> None:
        self.run_dir = run_dir
        self.stop = stop
        self.config: RunConfig = load_config(run_dir / "run.json")
        if self.config.threads:
            torch.set_num_threads(self.config.threads)
        self.team, self.device = join(choose_device(self.config))
        self.stop.deaf = not self.team.leads
        self.progress = Progress(run_dir, self.device, silent=not self.team.leads)
        self.base = Path(self.config.base_model)
        self.reference = Path(self.config.reference_model or self.base)
        self.traits: tuple[str, ...] = ()  # attributes or error types of the training data
        self.prompts: dict[str, Text] = {}  # by prompt id
        self.compares = False  # whether the training data hold preferences
        self.adapted: PeftModel | None = None

    @cached_property
    def base_hash(self) -> str:
        """Hash of the base model's weights."""
        return loading.weights_hash(self.base)

    @cached_property
    def reference_hash(self) -> str:
        """Hash of the reference model's weights."""
        return self.base_hash if self.reference == self.base else loading.weights_hash(self.reference)

    def read(self, tokenizer: "PreTrainedTokenizerFast") -> tuple[Tokens, dict[str, Report]]:
        """The tokens of all splits, and what became of their rows. Raises RunError where nothing is left to learn."""
        config = self.config
        limit = loading.position_limit(self.base)
        longest = min(config.max_length, limit) if limit else config.max_length
        lengths = Lengths(longest, config.max_prompt_length, config.long_rows)
        store = TokenStore(Path(config.token_cache), tokenizer_hash(tokenizer)) if config.token_cache else None
        tokens: Tokens = {}
        reports: dict[str, Report] = {}
        for split in SPLITS:
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

    def learner(
        self,
        tokenizer: "PreTrainedTokenizerFast",
        tokens: Tokens,
        reports: dict[str, Report],
    ) -> Learner:
        """The model with what it will be taught; writes `preflight.json`."""
        config, objective = self.config, self.config.taught
        longest = max(group.longest for groups in tokens.values() for group in groups)
        path = choose_path(config, self.device, packable=loading.can_pack(self.base, longest))
        model = self.load(self.base, objective, path)
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

    def load(
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

    def counted(self, what: str, whole: int) -> Callable[[int], None]:
        """Hears how many of so many rows are done, and says so."""

        def after_batch(done: int) -> None:
            self.progress.message = f"{what} {done} of {whole} rows".strip()
            self.progress.write()
            self.stop.check()

        return after_batch


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
