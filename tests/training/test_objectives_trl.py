"""Loss and gradient against TRL's own trainers, on the very same tokens and weights."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.tiny_models import plain_config, save_tiny
from training.base_model import preference_pairs
from training.engine import loading
from training.engine.forward import run_model
from training.engine.loop import Learner, Split
from training.engine.pack import make_batch
from training.engine.records import Preference
from training.engine.tokens import TokenGroup
from training.objectives.registry import objectives

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

CPU = torch.device("cpu")
MARGINS = [0.0, 0.5, 1.0, 0.25, 0.0, 2.0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("base") / "m", scale=2.0)


def dataset(**columns: list[Any]) -> Any:
    from datasets import Dataset

    rows = [{key: row[key] for key in ("prompt", "chosen", "rejected")} for row in preference_pairs(6)]
    return Dataset.from_list([{**row, **{k: v[n] for k, v in columns.items()}} for n, row in enumerate(rows)])


def arguments(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    plain = {"per_device_train_batch_size": 6, "report_to": "none", "use_cpu": True, "bf16": False}
    return {"output_dir": str(tmp_path), "gradient_checkpointing": False, "max_length": 400, **plain, **changes}


def groups_of(batch: dict[str, Any], margins: list[float]) -> list[TokenGroup]:
    """The same tokens as groups: rows are [chosen..., rejected...]; without a completion mask all is completion."""
    rows = [ids[mask.bool()].tolist() for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
    if "completion_mask" in batch:
        cuts = [int(m.argmax()) for m in batch["completion_mask"]]
    else:
        cuts = [1] * len(rows)
    half = len(rows) // 2
    groups = []
    for number, margin in enumerate(margins):
        chosen, rejected, cut = rows[number], rows[number + half], cuts[number]
        completions = (tuple(chosen[cut:]), tuple(rejected[cut:]))
        edge = (Preference(0, 1, margin=margin),)
        groups.append(TokenGroup(str(number), str(number), "", tuple(chosen[:cut]), completions, edge))
    return groups


def own_gradient(learner: Learner, split: Split) -> tuple[float, dict[str, torch.Tensor]]:
    _, loss = learner.loss(split, range(len(split)))
    mean = loss.per_edge.mean()
    mean.backward()  # type: ignore[no-untyped-call]
    return float(mean), {n: p.grad for n, p in learner.model.named_parameters() if p.grad is not None}


def assert_equal(trainer: Any, batch: dict[str, Any], ours: tuple[float, dict[str, torch.Tensor]]) -> None:
    theirs = trainer.compute_loss(trainer.model, batch)
    theirs.backward()
    assert ours[0] == pytest.approx(float(theirs), abs=1e-4)
    gradients = {n: p.grad for n, p in trainer.model.named_parameters() if p.grad is not None}
    assert gradients.keys() == ours[1].keys()
    for name, gradient in gradients.items():
        assert (ours[1][name] - gradient).norm() <= 1e-4 * max(1e-3, float(gradient.norm())), name


@pytest.mark.parametrize(
    "options",
    [
        {"loss_type": "sigmoid"},
        {"loss_type": "sigmoid", "beta": 0.3},
        {"loss_type": "hinge"},
        {"loss_type": "ipo"},
    ],
)
def test_dpo_equals_trl(folder: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    policy, reference = (loading.load_model(folder, "policy", packed=False, device=CPU) for _ in range(2))
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)), alpha=0.02)
    trl_options = {**options, "loss_type": [options["loss_type"]]}
    trainer = DPOTrainer(
        model=policy,
        ref_model=reference,
        args=DPOConfig(**arguments(tmp_path, **trl_options)),
        train_dataset=dataset(),
        processing_class=loading.load_tokenizer(folder),
    )
    batch = next(iter(trainer.get_train_dataloader()))
    groups = groups_of(batch, [0.0] * 6)
    with torch.no_grad():
        values = run_model(reference, make_batch(groups, "padded", CPU)).logps
    assert values is not None
    own = loading.load_model(folder, "policy", packed=True, device=CPU)
    own.load_state_dict(policy.state_dict())
    config = plain_config("dpo", objective_options=options)
    split = Split(groups, [tuple(pair.tolist()) for pair in values.view(-1, 2)])
    assert_equal(trainer, batch, own_gradient(Learner(own, objectives()["dpo"], config, "segments"), split))


@pytest.mark.parametrize(("centring", "margins"), [(0.0, False), (0.01, False), (0.01, True)])
def test_bt_equals_trl(folder: Path, tmp_path: Path, centring: float, margins: bool) -> None:
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    tokenizer = loading.load_tokenizer(folder)
    model, own = (loading.load_model(folder, "reward", packed=packed, device=CPU) for packed in (False, True))
    loading.ensure_pad(model, tokenizer, set())
    own.load_state_dict(model.state_dict())
    trainer = RewardTrainer(
        model=model,
        args=RewardConfig(**arguments(tmp_path, center_rewards_coefficient=centring or None, disable_dropout=True)),
        train_dataset=dataset(margin=MARGINS) if margins else dataset(),
        processing_class=tokenizer,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    config = plain_config("bt", objective_options={"centring": centring})
    drawn = batch["margin"].tolist() if margins else [0.0] * 6
    split = Split(groups_of(batch, drawn))
    assert_equal(trainer, dict(batch), own_gradient(Learner(own, objectives()["bt"], config, "segments"), split))
