"""What a run is about to do, said before it does it: rows, batches, memory, time, and the text that the model reads."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from training.engine.batches import Plan
from training.engine.config import RunConfig
from training.engine.estimate import estimate
from training.engine.pack import Path as AttentionPath
from training.engine.tokens import Report, TokenGroup, adds_bos

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_SHOWN_IDS = 100


def make_plan(groups: Sequence[TokenGroup], config: RunConfig, path: AttentionPath) -> Plan:
    """The batches of a run. Raises RunError where the order that it asks for cannot be had."""
    return Plan(
        groups,
        config.tokens_per_batch,
        config.gradient_accumulation,
        config.seed,
        padded=path == "padded",
        order=config.order,
    )


def preflight(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    config: RunConfig,
    path: AttentionPath,
    tokens: Mapping[str, Sequence[TokenGroup]],
    reports: Mapping[str, Report],
) -> dict[str, Any]:
    """The content of `preflight.json`; `tokens` and `reports` by split. Raises RunError as `make_plan`."""
    whole = sum(make_plan(tokens["train"], config, path).lengths(config.epochs))
    steps = min(whole, config.max_steps or whole)
    seen = round(reports["train"].tokens * config.epochs * steps / max(1, whole))
    leaked = leaked_prompts(tokens)
    return {
        "splits": {split: report.as_json() for split, report in reports.items()},
        "steps": steps,
        "attention": path,
        "device": str(model.device),
        "estimate": estimate(model, seen, config.tokens_per_batch, len(tokenizer)),
        "leaked_prompts": {"count": len(leaked), "ids": leaked[:_SHOWN_IDS]},
        "text": text_rules(tokenizer),
    }


def leaked_prompts(tokens: Mapping[str, Sequence[TokenGroup]]) -> list[str]:
    """Prompts of a held-out split that are trained on too, in order."""
    trained = {group.prompt_id for group in tokens["train"]}
    held_out = {group.prompt_id for split, groups in tokens.items() if split != "train" for group in groups}
    return sorted(trained & held_out)


def text_rules(tokenizer: "PreTrainedTokenizerFast") -> dict[str, Any]:
    """How rows become text and tokens, so that a run can be read again without its tokenizer."""
    return {
        "template": tokenizer.chat_template or None,
        "bos": tokenizer.bos_token,
        "eos": tokenizer.eos_token,
        "pad": tokenizer.pad_token,
        "adds_bos": bool(not tokenizer.chat_template and adds_bos(tokenizer)),
    }
