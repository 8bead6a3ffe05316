"""The two sides of a comparison: TRL's trainer and this engine, on the same tokens, weights and batches."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import torch

from training.engine import loading
from training.engine.config import RunConfig, parse_config
from training.engine.forward import Precision, run_model
from training.engine.learner import Learner, Split
from training.engine.pack import best_path, make_batch
from training.engine.params import make_optimizer
from training.engine.records import Preference
from training.engine.tokens import TokenGroup
from training.objectives.catalogue import OBJECTIVES

BATCH = 8
MAX_LENGTH = 512


class Side:
    """One way of doing an update: `loss(batch number)` gives a scalar to go back from."""

    def __init__(self, model: Any, loss: Callable[[int], torch.Tensor]) -> None:
        self.model = model
        self.loss = loss
        self.optimizer = make_optimizer(model, 1e-4, 0.0)

    def step(self, number: int) -> None:
        """A whole update: forward, backward, clip, AdamW."""
        self.loss(number).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def gradient(self, number: int) -> tuple[float, dict[str, torch.Tensor]]:
        """Loss and gradient of one batch, without an update."""
        loss = self.loss(number)
        loss.backward()  # type: ignore[no-untyped-call]
        named = {name: p.grad.clone() for name, p in self.model.named_parameters() if p.grad is not None}
        self.optimizer.zero_grad(set_to_none=True)
        return float(loss), named


@dataclass(frozen=True)
class Bout:
    """Both sides over the same batches; `pairs` of them are in one batch."""

    theirs: Side
    ours: Side
    batches: list[dict[str, Any]]
    groups: list[list[TokenGroup]]
    pairs: int

    @property
    def tokens(self) -> dict[str, int]:
        """Token positions that each side computes in a batch on average: padded rows, or packed trees."""
        padded = sum(batch["input_ids"].numel() for batch in self.batches)
        packed = sum(group.packed_tokens for members in self.groups for group in members)
        return {"padded_tokens": padded // len(self.batches), "packed_tokens": packed // len(self.batches)}


def as_pairs(batch: dict[str, Any]) -> list[TokenGroup]:
    """The trainer's own tokens as groups. Rows are [chosen..., rejected...]."""
    rows = [ids[mask.bool()].tolist() for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
    half = len(rows) // 2
    groups = []
    for number in range(half):
        chosen, rejected = rows[number], rows[number + half]
        cut = int(batch["completion_mask"][number].int().argmax()) if "completion_mask" in batch else 1
        parts = (tuple(chosen[cut:]), tuple(rejected[cut:]))
        groups.append(TokenGroup(str(number), str(number), "", tuple(chosen[:cut]), parts, (Preference(0, 1),)))
    return groups


def as_lists(batch: dict[str, Any]) -> list[TokenGroup]:
    """As `as_pairs`, with the pairs of one prompt put together to one ranked list."""
    lists: dict[tuple[int, ...], list[TokenGroup]] = {}
    for pair in as_pairs(batch):
        lists.setdefault(pair.prompt, []).append(pair)
    groups = []
    for prompt, members in lists.items():
        texts = list(dict.fromkeys(text for pair in members for text in pair.completions))
        edges = tuple(Preference(*(texts.index(text) for text in pair.completions)) for pair in members)
        groups.append(TokenGroup(str(len(groups)), str(len(groups)), "", prompt, tuple(texts), edges))
    return groups


def trl_arguments(folder: Path, device: torch.device, **changes: Any) -> dict[str, Any]:
    """Settings common to TRL's trainers."""
    return {
        "output_dir": str(folder / "trl"),
        "per_device_train_batch_size": BATCH,
        "max_length": MAX_LENGTH,
        "report_to": "none",
        "use_cpu": device.type == "cpu",
        "bf16": False,
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
        "seed": 0,
        **changes,
    }


def dpo(
    folder: Path,
    rows: list[dict[str, Any]],
    device: torch.device,
    *,
    best_peer: bool = False,
    precision: Precision = "fp32",
    grouped: Callable[[dict[str, Any]], list[TokenGroup]] = as_pairs,
    **changes: Any,
) -> Bout:
    """DPO with the reference on the fly on both sides; `best_peer` stores it on both and lets TRL group by length."""
    from datasets import Dataset
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    if best_peer:
        changes |= {"precompute_ref_log_probs": True, "train_sampling_strategy": "group_by_length"}
        changes["remove_unused_columns"] = False  # the lengths
        rows = [{**row, "length": _characters(row)} for row in rows]
    policy, reference = (loading.load_model(folder, "policy", packed=False, device=device) for _ in range(2))
    trainer: Any = DPOTrainer(
        model=policy,
        ref_model=reference,
        args=DPOConfig(**trl_arguments(folder, device, **changes)),
        train_dataset=Dataset.from_list(rows),
        processing_class=loading.load_tokenizer(folder),
    )
    trainer.model.train()
    if changes.get("gradient_checkpointing"):  # as its own loop would begin with
        trainer.model.gradient_checkpointing_enable({"use_reentrant": False})
    batches = whole_batches(trainer)
    path = best_path(device, precision)
    packed, packed_reference = (loading.load_model(folder, "policy", packed=True, device=device) for _ in range(2))
    learner = Learner(packed, OBJECTIVES["dpo"], settings("dpo", folder, precision), path)
    groups = [grouped(batch) for batch in batches]

    def references(members: list[TokenGroup]) -> list[tuple[float, ...]]:
        with torch.inference_mode():
            logps = run_model(packed_reference, make_batch(members, path, device), precision).logps
        assert logps is not None
        starts = [0, *accumulate(len(group.completions) for group in members)]
        return [tuple(logps[start:end].tolist()) for start, end in pairwise(starts)]

    stored = [references(members) for members in groups] if best_peer else []

    def our_loss(number: int) -> torch.Tensor:
        members = groups[number]
        split = Split(members, stored[number] if best_peer else references(members))
        return learner.loss(split, range(len(members)))[1].terms.mean()

    def their_loss(number: int) -> torch.Tensor:
        with trainer.accelerator.autocast():
            loss: torch.Tensor = trainer.compute_loss(trainer.model, batches[number])
        return loss

    theirs = Side(trainer.model, their_loss)
    pairs = len(batches[0]["input_ids"]) // 2
    return Bout(theirs, Side(packed, our_loss), batches, groups, pairs)


def reward(folder: Path, rows: list[dict[str, Any]], device: torch.device) -> Bout:
    """Reward model. Ours finds the shared prompt by itself: the trainer's batch has none."""
    from datasets import Dataset
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    tokenizer = loading.load_tokenizer(folder)
    model, packed = (loading.load_model(folder, "reward", packed=flag, device=device) for flag in (False, True))
    loading.ensure_pad(model, tokenizer, set())
    packed.load_state_dict(model.state_dict())
    trainer: Any = RewardTrainer(
        model=model,
        args=RewardConfig(**trl_arguments(folder, device), disable_dropout=True),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    batches = whole_batches(trainer)
    path = best_path(device, "fp32")
    learner = Learner(packed, OBJECTIVES["bt"], settings("bt", folder), path)
    splits = [Split(as_pairs(batch)) for batch in batches]

    def our_loss(number: int) -> torch.Tensor:
        return learner.loss(splits[number], range(len(splits[number])))[1].terms.mean()

    theirs = Side(trainer.model, lambda number: trainer.compute_loss(trainer.model, batches[number]))
    groups = [list(split.groups) for split in splits]
    return Bout(theirs, Side(packed, our_loss), batches, groups, BATCH)


def whole_batches(trainer: Any) -> list[dict[str, Any]]:
    """The trainer's batches in its own order, without a short last one."""
    batches = [dict(batch) for batch in trainer.get_train_dataloader()]
    return [batch for batch in batches if len(batch["input_ids"]) == len(batches[0]["input_ids"])]


def settings(objective: str, folder: Path, precision: Precision = "fp32") -> RunConfig:
    """Settings whose files are never read here."""
    data = folder / "unread.jsonl"
    data.touch()
    raw = {"schema": 1, "objective": objective, "base_model": str(folder), "data": {"train": [str(data)]}}
    return parse_config({**raw, "precision": precision})


def _characters(row: dict[str, Any]) -> int:
    texts = [*row["prompt"], *row["chosen"], *row["rejected"]]
    return sum(len(message["content"]) for message in texts)
