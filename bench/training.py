"""Training against TRL, interleaved in one process on the same tokens, weights and batches.

`python bench/training.py [--quick] [--device cpu|cuda]` prints one JSON object a line (needs the extras train and dev).
A ratio is TRL's CPU seconds (on CUDA: seconds) per pair over ours; both do a whole update: forward, backward, clip,
AdamW. TRL runs with its own defaults for this data, the reference computed on the fly by both ("same reference mode"),
and for `..._precomputed` with stored reference log-probabilities on both sides.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.base_model import CHAT_TEMPLATE, conversations, preference_pairs, train_tokenizer
from training.engine import loading
from training.engine.config import RunConfig, parse_config
from training.engine.forward import run_model
from training.engine.loop import Learner, Split
from training.engine.pack import Path as AttentionPath
from training.engine.pack import make_batch
from training.engine.params import make_optimizer
from training.engine.records import Preference
from training.engine.tokens import TokenGroup
from training.objectives.catalogue import OBJECTIVES

BATCH = 8
MAX_LENGTH = 512


def report(figure: str, value: float, unit: str, goal: float, holds: bool, **detail: Any) -> None:
    """One line of the bench."""
    line = {"figure": figure, "value": value, "unit": unit, "goal": goal, "holds": holds, "detail": detail}
    print(json.dumps(line), flush=True)


def make_model(folder: Path) -> None:
    """A random Llama-shaped model of about 5M parameters with a 2k vocabulary; no download."""
    from transformers import LlamaConfig, LlamaForCausalLM

    texts = ["\n".join(message["content"] for message in talk) for talk in conversations(500, seed=0)]
    tokenizer = train_tokenizer(texts)
    assert tokenizer.chat_template == CHAT_TEMPLATE
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))


def dialogues(count: int) -> list[dict[str, Any]]:
    """Pairs that share a long prompt, as dialogue preferences do: several turns, then two answers to the last."""
    talks = conversations(8 * count, seed=1)
    rows = []
    for number, row in enumerate(preference_pairs(count)):
        history = [message for _ in range(1 + number % 4) for message in next(talks)]
        rows.append({**{side: row[side] for side in ("chosen", "rejected")}, "prompt": history + row["prompt"]})
    return rows


def as_groups(batch: dict[str, Any]) -> list[TokenGroup]:
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


def arguments(folder: Path, device: str) -> dict[str, Any]:
    """Settings common to TRL's trainers."""
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": BATCH,
        "max_length": MAX_LENGTH,
        "report_to": "none",
        "use_cpu": device == "cpu",
        "bf16": False,
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
    }


class Side:
    """One way of doing an update: `loss(batch number)` gives a scalar to go back from."""

    def __init__(self, model: Any, loss: Callable[[int], torch.Tensor]) -> None:
        self.model = model
        self.loss = loss
        self.optimizer = make_optimizer(model, 1e-4, 0.0)

    def step(self, number: int) -> None:
        """A whole update."""
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


def seconds(device: str) -> float:
    """CPU seconds of this process; wall seconds where an accelerator does the work."""
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def tokens_per_batch(batches: list[dict[str, Any]], groups: Sequence[Sequence[TokenGroup]]) -> dict[str, int]:
    """Token positions that each side computes on average: padded rows, or packed trees."""
    padded = sum(batch["input_ids"].numel() for batch in batches)
    packed = sum(group.packed_tokens for members in groups for group in members)
    return {"padded_tokens": padded // len(batches), "packed_tokens": packed // len(batches)}


def compare(
    figure: str, goal: float, theirs: Side, ours: Side, tokens: dict[str, int], batches: int, rounds: int, device: str
) -> None:
    """Interleaved updates of both sides: the ratio of their times, and how far apart the first batch is."""
    their_loss, their_gradient = theirs.gradient(0)
    our_loss, our_gradient = ours.gradient(0)
    for side in (theirs, ours):
        side.step(0)
    spent: dict[str, list[float]] = {"theirs": [], "ours": []}
    for turn in range(rounds):
        for name, side in (("theirs", theirs), ("ours", ours)):
            begin = seconds(device)
            side.step(turn % batches)
            spent[name].append(seconds(device) - begin)
    medians = {name: statistics.median(values) / BATCH for name, values in spent.items()}
    ratio = sum(spent["theirs"]) / sum(spent["ours"])
    report(figure, round(ratio, 3), "x", goal, ratio >= goal, seconds_per_pair=medians, rounds=rounds, **tokens)
    difference = abs(their_loss - our_loss)
    report("loss_abs_diff", difference, "nats", 1e-4, difference <= 1e-4, of=figure)
    off = sum(float((our_gradient[n] - g).pow(2).sum()) for n, g in their_gradient.items())
    size = sum(float(g.pow(2).sum()) for g in their_gradient.values())
    relative = (off / size) ** 0.5
    report("grad_rel_diff", relative, "relative", 1e-4, relative <= 1e-4, of=figure)
    later = abs(theirs.gradient(0)[0] - ours.gradient(0)[0])
    report("loss_abs_diff_after_updates", later, "nats", 1e-3, later <= 1e-3, of=figure, updates=rounds + 1)


def bench_dpo(folder: Path, rows: list[dict[str, Any]], device: str, rounds: int, *, precomputed: bool) -> None:
    """DPO, with the reference on the fly or stored on both sides."""
    from datasets import Dataset
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    place = torch.device(device)
    policy, reference = (loading.load_model(folder, "policy", packed=False, device=place) for _ in range(2))
    options = {**arguments(folder / "trl", device), "precompute_ref_log_probs": precomputed}
    trainer = DPOTrainer(
        model=policy,
        ref_model=reference,
        args=DPOConfig(**options),
        train_dataset=Dataset.from_list(rows),
        processing_class=loading.load_tokenizer(folder),
    )
    batches = [dict(batch) for batch in trainer.get_train_dataloader()]
    packed, packed_reference = (loading.load_model(folder, "policy", packed=True, device=place) for _ in range(2))
    path: AttentionPath = "flex" if device == "cuda" else "segments"
    learner = Learner(packed, OBJECTIVES["dpo"], settings("dpo", folder), path)
    groups = [as_groups(batch) for batch in batches]

    def references(members: list[TokenGroup]) -> list[tuple[float, ...]]:
        with torch.inference_mode():
            logps = run_model(packed_reference, make_batch(members, path, place)).logps
        assert logps is not None
        return [tuple(pair) for pair in logps.view(-1, 2).tolist()]

    stored = [references(members) for members in groups] if precomputed else []

    def our_loss(number: int) -> torch.Tensor:
        members = groups[number]
        split = Split(members, stored[number] if precomputed else references(members))
        return learner.loss(split, range(len(members)))[1].terms.mean()

    teacher: Any = trainer
    theirs = Side(teacher.model, lambda number: teacher.compute_loss(teacher.model, batches[number]))
    name = "dpo_cpu_ratio_tiny_random_precomputed" if precomputed else "dpo_cpu_ratio_tiny_random"
    goal = 2.0 if precomputed else 4.0
    tokens = tokens_per_batch(batches, groups)
    compare(name, goal, theirs, Side(packed, our_loss), tokens, len(batches), rounds, device)


def bench_reward(folder: Path, rows: list[dict[str, Any]], device: str, rounds: int) -> None:
    """Reward model. Ours finds the shared prompt by itself: the trainer's batch has none."""
    from datasets import Dataset
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    place = torch.device(device)
    tokenizer = loading.load_tokenizer(folder)
    model, packed = (loading.load_model(folder, "reward", packed=flag, device=place) for flag in (False, True))
    loading.ensure_pad(model, tokenizer, set())
    packed.load_state_dict(model.state_dict())
    trainer = RewardTrainer(
        model=model,
        args=RewardConfig(**arguments(folder / "trl", device), disable_dropout=True),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    batches = [dict(batch) for batch in trainer.get_train_dataloader()]
    path: AttentionPath = "flex" if device == "cuda" else "segments"
    learner = Learner(packed, OBJECTIVES["bt"], settings("bt", folder), path)
    splits = [Split(as_groups(batch)) for batch in batches]

    def our_loss(number: int) -> torch.Tensor:
        return learner.loss(splits[number], range(len(splits[number])))[1].terms.mean()

    teacher: Any = trainer
    theirs = Side(teacher.model, lambda number: teacher.compute_loss(teacher.model, batches[number]))
    tokens = tokens_per_batch(batches, [split.groups for split in splits])
    compare("rm_cpu_ratio_tiny", 3.0, theirs, Side(packed, our_loss), tokens, len(batches), rounds, device)


def settings(objective: str, folder: Path) -> RunConfig:
    """Settings whose files are never read here."""
    data = folder / "unread.jsonl"
    data.touch()
    return parse_config(
        {"schema": 1, "objective": objective, "base_model": str(folder), "data": {"train": [str(data)]}}
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    rounds = 4 if options.quick else 30
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder)
        rows = dialogues(BATCH * (2 if options.quick else 10))
        for precomputed in (False, True):
            bench_dpo(folder, rows, options.device, rounds, precomputed=precomputed)
        bench_reward(folder, rows, options.device, rounds)


if __name__ == "__main__":
    main()
