"""Loss and gradient against TRL's own trainers, on the very same tokens and weights."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.training.objective_cases import certain, pairs, run
from tests.training.tiny_models import plain_config, save_tiny, unread
from training.base_model import preference_pairs
from training.engine import loading
from training.engine.forward import run_model
from training.engine.learner import Learner, Split
from training.engine.pack import make_batch
from training.engine.records import Label, Preference
from training.engine.tokens import TokenGroup
from training.objectives.catalogue import OBJECTIVES
from training.objectives.terms import Inputs

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
    _, loss = learner.loss(split, range(len(split)), learner.overview(split, range(len(split))))
    mean = loss.terms.sum() / loss.weights.sum()
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
    ("name", "loss_type", "options"),
    [
        ("dpo", "sigmoid", {}),
        ("dpo", "sigmoid", {"beta": 0.3}),
        ("hinge", "hinge", {}),
        ("ipo", "ipo", {}),
        ("robust", "robust", {"label_smoothing": 0.2}),
        ("dpo_norm", "sigmoid_norm", {"beta": 2.0}),
    ],
)
def test_losses_against_a_reference_equal_trl(
    folder: Path, tmp_path: Path, name: str, loss_type: str, options: dict[str, Any]
) -> None:
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    policy, reference = (loading.load_model(folder, "policy", packed=False, device=CPU) for _ in range(2))
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)), alpha=0.02)
    trl_options = {"beta": 0.1, **options, "loss_type": [loss_type]}
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
    config = plain_config(name, objective_options=options)
    split = Split(groups, [tuple(pair.tolist()) for pair in values.view(-1, 2)])
    assert_equal(trainer, batch, own_gradient(Learner(own, OBJECTIVES[name], config, "segments"), split))


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
    assert_equal(trainer, dict(batch), own_gradient(Learner(own, OBJECTIVES["bt"], config, "segments"), split))


def apart() -> tuple[Inputs, torch.Tensor, torch.Tensor]:
    """Pairs, and the mean log-probability per token of their chosen and rejected completions."""
    case = pairs(**certain())
    assert case.logps is not None
    assert case.scored is not None
    means = (case.logps / case.scored).float()
    return case, means[0::2], means[1::2]


def test_simpo_equals_trl() -> None:
    from trl.experimental.cpo import CPOTrainer

    case, chosen, rejected = apart()
    numbers = {"alpha": 0.0, "beta": 2.5, "loss_type": "simpo", "simpo_gamma": 0.8, "label_smoothing": 0.0}
    trainer: Any = SimpleNamespace(**numbers, accelerator=SimpleNamespace(device=CPU))
    theirs = CPOTrainer.cpo_loss(trainer, chosen, rejected)[0]
    torch.testing.assert_close(run("simpo", case, beta=2.5, target_margin=0.8).terms.float(), theirs)


def test_orpo_equals_trl() -> None:
    """The odds ratio is TRL's; its imitation term also counts the prompt's tokens, ours the completion's alone."""
    from trl.experimental.orpo import ORPOTrainer

    case, chosen, rejected = apart()
    trainer: Any = SimpleNamespace(beta=0.3, accelerator=SimpleNamespace(device=CPU))
    odds = ORPOTrainer.odds_ratio_loss(trainer, chosen, rejected)[0]
    torch.testing.assert_close(run("orpo", case, beta=0.3).terms.float(), -chosen - odds)


def test_kto_equals_trl(folder: Path, tmp_path: Path) -> None:
    from datasets import Dataset
    from trl.trainer.kto_config import KTOConfig
    from trl.trainer.kto_trainer import KTOTrainer

    policy, reference = (loading.load_model(folder, "policy", packed=False, device=CPU) for _ in range(2))
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)), alpha=0.02)
    rows = [
        {"prompt": row["prompt"], "completion": row[side], "label": side == "chosen"}
        for number, row in enumerate(preference_pairs(6))
        for side in ("chosen", "rejected")[: 1 + number % 2]
    ]
    weights = {"beta": 0.3, "desirable_weight": 1.0, "undesirable_weight": 1.5}
    trainer = KTOTrainer(
        model=policy,
        ref_model=reference,
        args=KTOConfig(**arguments(tmp_path, per_device_train_batch_size=len(rows), **weights)),
        train_dataset=Dataset.from_list(rows),
        processing_class=loading.load_tokenizer(folder),
    )
    batch = next(iter(trainer.get_train_dataloader()))

    def singles(prefix: str, labels: list[bool]) -> list[TokenGroup]:
        columns = (batch[f"{prefix}{name}"] for name in ("input_ids", "attention_mask", "completion_mask"))
        groups = []
        for number, (ids, mask, own) in enumerate(zip(*columns, strict=True)):
            tokens, cut = tuple(ids[mask.bool()].tolist()), int(own.argmax())
            label = Label(gain=float(labels[number]))
            groups.append(TokenGroup(str(number), str(number), "", tokens[:cut], (tokens[cut:],), (), (label,)))
        return groups

    def split(groups: list[TokenGroup]) -> Split:
        with torch.no_grad():
            values = run_model(reference, make_batch(groups, "padded", CPU)).logps
        assert values is not None
        return Split(groups, [(value,) for value in values.tolist()])

    labels = [bool(one) for one in batch["label"]]
    whole = replace(split(singles("", labels)), mismatched=split(singles("KL_", labels)))
    own = loading.load_model(folder, "policy", packed=True, device=CPU)
    own.load_state_dict(policy.state_dict())
    config = plain_config("kto", objective_options=weights, data={**unread(), "shape": "unpaired"})
    learner = Learner(own, OBJECTIVES["kto"], config, "segments")
    assert_equal(trainer, dict(batch), own_gradient(learner, whole))
