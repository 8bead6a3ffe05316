from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.tiny_models import plain_config, random_groups, save_tiny
from training.engine import loading
from training.engine.batches import mismatched
from training.engine.errors import CancelledError, RunError
from training.engine.learner import Learner, Split
from training.engine.loop import Trainer
from training.engine.measuring import evaluate
from training.engine.memory import split_batches, within_memory
from training.engine.pack import Path as AttentionPath
from training.engine.progress import Progress, Stop
from training.engine.records import Preference
from training.engine.tokens import TokenGroup
from training.objectives.catalogue import OBJECTIVES

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("base") / "m", scale=2.0)


def weighted(groups: list[TokenGroup]) -> list[TokenGroup]:
    return [
        TokenGroup(g.id, g.prompt_id, g.source, g.prompt, g.completions, (Preference(0, 1, weight=0.5 + number % 3),))
        for number, g in enumerate(groups)
    ]


def make(folder: Path, run_dir: Path, groups: list[TokenGroup] | None = None, **changes: Any) -> Trainer:
    config = plain_config(**{"threads": 1, "learning_rate": 1e-3, **changes})
    path: AttentionPath = "padded" if config.attention == "padded" else "segments"
    head: loading.Head = "reward" if "scores" in config.taught.needs else "policy"
    model = loading.load_model(folder, head, packed=path != "padded", device=CPU)
    learner = Learner(model, OBJECTIVES[config.objective], config, path)
    rows = weighted(random_groups(24)) if groups is None else groups
    references = [tuple(-5.0 for _ in group.completions) for group in rows]
    train = Split(rows, references if "ref_logps" in config.taught.needs else None)
    if "divergence" in config.taught.needs:
        train = replace(train, mismatched=Split(mismatched(rows, rows, 100), references))
    run_dir.mkdir(exist_ok=True)
    return Trainer(learner, train, Split([]), run_dir, "fingerprint", Progress(run_dir, CPU), Stop(run_dir))


def gradients(trainer: Trainer, micro_batches: list[list[int]]) -> dict[str, torch.Tensor]:
    trainer._tried(micro_batches)
    named = {name: p.grad.clone() for name, p in trainer.learner.model.named_parameters() if p.grad is not None}
    trainer.optimizer.zero_grad()
    return named


@pytest.mark.parametrize("objective", ["bt", "dpo", "robust", "orpo", "kto"])
def test_accumulating_gradients_equals_one_big_batch(folder: Path, tmp_path: Path, objective: str) -> None:
    trainer = make(folder, tmp_path, objective=objective)
    whole = gradients(trainer, [list(range(10))])
    parts = gradients(trainer, [[0], [1, 2, 3, 4, 5, 6], [7, 8, 9]])
    assert whole.keys() == parts.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("objective", ["bt", "dpo"])
def test_packed_and_padded_training_end_alike(folder: Path, tmp_path: Path, objective: str) -> None:
    ends = []
    for attention in ("segments", "padded"):
        # one batch holds everything, so that both layouts make the same steps
        changes: dict[str, Any] = {
            "attention": attention,
            "tokens_per_batch": 4096,
            "epochs": 3,
            "objective": objective,
        }
        trainer = make(folder, tmp_path / attention, **changes)
        trainer.run()
        assert trainer.step == 3
        ends.append(evaluate(trainer.learner, trainer.train)[0].means())
    assert ends[0] == pytest.approx(ends[1], abs=1e-3)


def crowd(trainer: Trainer, most: int) -> None:
    """Memory for so many tokens at once, whatever asks for them."""

    def refuse_large(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        if kwargs["input_ids"].numel() > most:
            raise torch.OutOfMemoryError("too large for this test")

    trainer.learner.model.base_model.register_forward_pre_hook(refuse_large, with_kwargs=True)


@pytest.mark.parametrize("objective", ["bt", "kto", "strength_voting"])
def test_out_of_memory_halves_the_batch_and_learns_the_same(folder: Path, tmp_path: Path, objective: str) -> None:
    """kto measures a divergence and strength_voting looks at all pairs of a step before it learns from any."""
    free, tight = (make(folder, tmp_path / name, objective=objective) for name in ("a", "b"))
    crowd(tight, 120)
    for trainer in (free, tight):
        trainer.update([list(range(12))])
    assert tight.halvings > 0
    assert free.halvings == 0
    for mine, theirs in zip(free.learner.model.parameters(), tight.learner.model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize("objective", ["kto", "strength_voting"])
def test_out_of_memory_while_evaluating_changes_no_figure(folder: Path, tmp_path: Path, objective: str) -> None:
    free, tight = (make(folder, tmp_path / name, objective=objective) for name in ("a", "b"))
    crowd(tight, 120)
    figures = [evaluate(trainer.learner, trainer.train) for trainer in (free, tight)]
    assert figures[0][0].means() == pytest.approx(figures[1][0].means(), abs=1e-5)
    assert len(figures[1][1]) == 24


def test_batches_that_memory_is_too_short_for_are_halved_in_order() -> None:
    asked = []

    def forward(indices: list[int]) -> int:
        asked.append(list(indices))
        if len(indices) > 2:
            raise torch.OutOfMemoryError("too large for this test")
        return sum(indices)

    found = list(within_memory([[0, 1, 2, 3, 4], [5, 6, 7, 8]], random_groups(9), forward))
    assert [index for indices, _ in found for index in indices] == list(range(9))
    assert all(value == sum(indices) for indices, value in found)
    assert [5, 6, 7, 8] not in asked  # what was too much once is not asked for again


def test_memory_that_is_very_short_halves_no_further_than_it_must() -> None:
    tried = []

    def forward(indices: list[int]) -> int:
        tried.append(len(indices))
        if len(indices) > 4:
            raise torch.OutOfMemoryError("too large for this test")
        return len(indices)

    batches = [list(range(64)), list(range(64, 128))]
    fitted = [found for _, found in within_memory(batches, random_groups(128), forward)]
    assert fitted == [4] * 32
    assert [size for size in tried if size > 4] == [64, 32, 16, 8]  # each size that is too much is asked for once


def test_a_row_that_no_measuring_fits_is_named(folder: Path, tmp_path: Path) -> None:
    trainer = make(folder, tmp_path, objective="kto")
    crowd(trainer, 1)
    with pytest.raises(RunError, match="Not even one row") as caught:
        trainer.update([[4, 2]])
    assert caught.value.rows == ["row-4"]


def test_a_row_that_never_fits_is_named(folder: Path, tmp_path: Path) -> None:
    def refuse(_module: Any, _args: Any) -> None:
        raise torch.OutOfMemoryError("nothing fits in this test")

    trainer = make(folder, tmp_path)
    trainer.learner.model.base_model.register_forward_pre_hook(refuse)
    with pytest.raises(RunError, match="Not even one row") as caught:
        trainer.update([[4, 2]])
    assert caught.value.rows == ["row-4", "row-2"]


def test_a_loss_that_is_not_finite_names_its_rows(folder: Path, tmp_path: Path) -> None:
    groups = random_groups(6)
    bad = groups[3]
    infinite = (Preference(0, 1, margin=float("inf")),)
    groups[3] = TokenGroup(bad.id, bad.prompt_id, bad.source, bad.prompt, bad.completions, infinite)
    with pytest.raises(RunError, match="not finite") as caught:
        make(folder, tmp_path, groups).run()
    assert caught.value.rows == ["row-3"]


def test_weights_of_zero_move_nothing(folder: Path, tmp_path: Path) -> None:
    silent = [
        TokenGroup(g.id, g.prompt_id, g.source, g.prompt, g.completions, (Preference(0, 1, weight=0.0),))
        for g in random_groups(4)
    ]
    trainer = make(folder, tmp_path, silent)
    model: Any = trainer.learner.model
    before = model.score.weight.clone()
    trainer.run()
    assert torch.equal(model.score.weight, before)


@pytest.mark.slow
def test_a_run_stopped_between_any_two_steps_ends_bitwise_as_one_that_was_not(folder: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"tokens_per_batch": 256, "epochs": 2, "gradient_accumulation": 2, "objective": "dpo"}
    whole = make(folder, tmp_path / "whole", **changes)
    whole.run()
    assert whole.total >= 4
    for stop_at in range(1, whole.total):
        run_dir = tmp_path / f"stopped-{stop_at}"
        first = make(folder, run_dir, **changes, checkpoint_every=1000)
        first.total = stop_at  # ends the loop early; the schedule below is that of the whole run
        first._set_rate = lambda trainer=first: _rate_of(trainer, whole.total)  # type: ignore[method-assign, misc]
        first.run()
        second = make(folder, run_dir, **changes)
        second.run()
        assert second.step == whole.total
        for mine, theirs in zip(second.learner.model.parameters(), whole.learner.model.parameters(), strict=True):
            assert torch.equal(mine, theirs)


def _rate_of(trainer: Trainer, total: int) -> float:
    short, trainer.total = trainer.total, total
    try:
        return Trainer._set_rate(trainer)
    finally:
        trainer.total = short


def test_cancel_saves_what_was_learned(folder: Path, tmp_path: Path) -> None:
    trainer = make(folder, tmp_path, tokens_per_batch=256)
    (tmp_path / "cancel").touch()
    with pytest.raises(CancelledError):
        trainer.run()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000000"]


def test_a_resumed_curve_does_not_double(tmp_path: Path) -> None:
    progress = Progress(tmp_path, CPU)
    for step in (1, 2, 3):
        progress.metrics(step, {"loss": float(step)})
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 4, "na')
    progress.rewind(2)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ['{"step": 1', '{"step": 2']


def test_evaluation_does_not_depend_on_the_batch_size(folder: Path, tmp_path: Path) -> None:
    trainer = make(folder, tmp_path)
    large = evaluate(trainer.learner, trainer.train)
    small = evaluate(make(folder, tmp_path / "s", max_length=32, tokens_per_batch=16).learner, trainer.train)
    assert large[0].means() == pytest.approx(small[0].means(), abs=1e-5)
    assert large[0].correct == small[0].correct
    assert [len(rewards) for rewards in large[1]] == [2] * 24


def test_halving_leaves_no_part_empty() -> None:
    assert split_batches([[1, 2, 3], [4]], 1) == [[1, 2], [3], [4]]
    assert split_batches([[1, 2, 3], [4]], 0) == [[1, 2, 3], [4]]
