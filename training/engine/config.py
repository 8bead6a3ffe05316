"""`run.json`: what a run is asked to do, checked before anything is loaded."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from training.engine.errors import RunError
from training.engine.files import sha256_file, sha256_json
from training.objectives.catalogue import OBJECTIVES, Objective, Reader
from training.objectives.options import ObjectiveOptions
from training.objectives.type_weights import parse_type_weights

# Fields that change how a run is watched or stored but not the weights it ends with.
# Models and data are told apart by their content instead of their place.
_WEIGHTLESS = {
    *("checkpoint_every", "evaluate_every", "reference_cache", "token_cache", "device", "threads"),
    *("reference_model", "base_model", "data"),
}

Tuning = Literal["full", "half", "lora", "dora", "qlora"]
Order = Literal["shuffled", "easy-first"]
Positive = Annotated[int, Field(gt=0, le=2**31 - 1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class DataFiles(_Strict):
    """Absolute paths of JSONL or Parquet files, by split, and the shape of their rows; `beside` holds those of another
    shape that the objective reads as well."""

    shape: str = "preference"

    train: list[str] = Field(min_length=1)
    test: list[str] = []
    validation: list[str] = []
    beside: "DataFiles | None" = None

    @field_validator("train", "test", "validation")
    @classmethod
    def _files_exist(cls, paths: list[str]) -> list[str]:
        for path in paths:
            if not Path(path).is_absolute():
                raise ValueError(f"{path} is not an absolute path")
            if Path(path).suffix.lower() not in {".jsonl", ".parquet"}:
                raise ValueError(f"{path} is neither .jsonl nor .parquet")
            if not Path(path).is_file():
                raise ValueError(f"{path} does not exist")
        return paths


class RunConfig(_Strict):
    """The whole of `run.json`."""

    schema_version: Literal[1] = Field(alias="schema")
    objective: str
    objective_options: ObjectiveOptions = Field(default_factory=dict, validate_default=True)  # type: ignore[arg-type]
    base_model: str
    reference_model: str | None = None
    data: DataFiles
    max_length: Positive = 512
    max_prompt_length: Positive | None = None
    long_rows: Literal["drop", "error", "truncate-prompt-left"] = "drop"
    tokens_per_batch: Positive = 4096
    gradient_accumulation: Positive = 1
    epochs: Positive = 1
    max_steps: Positive | None = None
    learning_rate: float = Field(5e-5, gt=0, le=10)
    warmup_steps: float = Field(0.0, ge=0, le=1e9)
    weight_decay: float = Field(0.0, ge=0, le=10)
    max_grad_norm: float = Field(1.0, gt=0, le=1e6)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    tuning: Tuning = "full"
    lora_rank: int = Field(16, gt=0, le=4096)
    lora_alpha: float = Field(32.0, gt=0, le=1e6)
    order: Order = "shuffled"
    seed: int = Field(0, ge=0, lt=2**31)
    checkpoint_every: Positive = 50
    evaluate_every: Positive | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    attention: Literal["auto", "segments", "dense", "flex", "varlen", "padded"] = "auto"
    threads: Positive | None = None
    reference_cache: str | None = None
    token_cache: str | None = None

    @field_validator("objective")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in OBJECTIVES:
            raise ValueError(f"choose one of {', '.join(OBJECTIVES)}")
        return value

    @field_validator("objective_options", mode="before")
    @classmethod
    def _its_own(cls, value: Any, info: ValidationInfo) -> Any:
        """The objective's defaults under what is given; what is no option of the objective is refused."""
        objective = OBJECTIVES.get(info.data.get("objective", ""))
        return objective.filled(value) if objective and isinstance(value, dict) else value

    @field_validator("warmup_steps")
    @classmethod
    def _whole_or_fraction(cls, value: float) -> float:
        if value >= 1 and value != int(value):
            raise ValueError("must be a whole number of steps, or a fraction of all steps below 1")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "RunConfig":
        if self.max_prompt_length is not None and self.max_prompt_length >= self.max_length:
            raise ValueError("max_prompt_length must be smaller than max_length, or no completion fits")
        if self.max_length > 2 * self.tokens_per_batch:
            raise ValueError("tokens_per_batch must be at least half of max_length, or a long row fits no batch")
        if self.data.shape not in self.taught.consumes:
            shapes = ", ".join(self.taught.consumes)
            raise ValueError(f"{self.objective} does not read data of the shape {self.data.shape}; it reads {shapes}")
        beside = self.data.beside.shape if self.data.beside else None
        if beside is not None and beside not in self.taught.beside:
            raise ValueError(f"{self.objective} does not read data of the shape {beside} beside {self.data.shape}")
        if beside is None and self.taught.lacking_beside:
            shapes = ", ".join(self.taught.beside)
            raise ValueError(f"{self.objective} reads a second shape in data.beside: {shapes}")
        if "segments" in self.taught.needs:
            parse_type_weights(self.objective_options.type_weights)
        if self.tuning in {"lora", "dora", "qlora"} and {"rewards", "segments"} & self.taught.needs == {"rewards"}:
            raise ValueError(
                f"{self.objective} trains a gate, which adapters leave out; choose the tuning full or half"
            )
        if self.reference_model is not None and "ref_logps" not in self.taught.needs:
            raise ValueError(f"reference_model is not read by the objective {self.objective}")
        return self

    @property
    def taught(self) -> Objective:
        """The objective."""
        return OBJECTIVES[self.objective]

    @property
    def reader(self) -> Reader:
        """How the rows of the data are read."""
        return self.taught.consumes[self.data.shape]

    @property
    def heads(self) -> int | None:
        """How many score heads the model has, if it has any; None where the data decide."""
        if "rewards" in self.taught.needs:
            return None
        return self.objective_options.heads if "heads" in self.taught.defaults else 1

    def warmup(self, total_steps: int) -> int:
        """Number of warm-up steps of a run of `total_steps`."""
        return int(self.warmup_steps if self.warmup_steps >= 1 else self.warmup_steps * total_steps)

    def fingerprint(self, base_weights: str, reference_weights: str | None) -> str:
        """Hash of all that decides the final weights: settings, the data files' bytes and the starting weights.

        `base_weights` and `reference_weights` are hashes of the models' weights. A checkpoint is only continued
        under the same fingerprint.
        """
        settings = self.model_dump(exclude=_WEIGHTLESS)
        beside = self.data.beside.train if self.data.beside else []
        files = [sha256_file(Path(path)) for path in (*self.data.train, *beside)]
        return sha256_json([settings, files, base_weights, reference_weights])


def load_config(path: Path) -> RunConfig:
    """Read and check `run.json`.

    Raises RunError with one sentence that names every wrong field.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"There is no {path.name} in {path.parent}.") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise RunError(f"{path.name} is not valid JSON: {error}.") from error
    return parse_config(raw)


def parse_config(raw: Any) -> RunConfig:
    """Check a decoded `run.json`. Raises RunError with one sentence that names every wrong field."""
    try:
        return RunConfig.model_validate(raw)
    except ValidationError as error:
        faults = "; ".join(_fault(detail) for detail in error.errors(include_url=False))
        raise RunError(f"The settings of this run are not valid: {faults}.") from error


def _fault(detail: Any) -> str:
    place = ".".join(str(part) for part in detail["loc"]) or "settings"
    message = detail["msg"].removeprefix("Value error, ")
    return f"{place}: {message[:1].lower()}{message[1:]}"
