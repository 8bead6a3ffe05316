from pathlib import Path

import pytest
import torch

from tests.training.tiny_models import save_tiny
from training.engine import loading
from training.generation.best_of_n import best_of_n, score_completions
from training.generation.sample import Sampling, choose, sample, sample_ids

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("base") / "m", scale=2.0)


def test_tokens_outside_the_nucleus_are_never_drawn() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log().repeat(2000, 1)
    generator = torch.Generator().manual_seed(0)
    drawn = choose(logits, Sampling(top_p=0.7), generator).bincount(minlength=4) / 2000
    assert drawn[2:].tolist() == [0.0, 0.0]
    assert drawn[0].item() == pytest.approx(0.625, abs=0.04)


def test_without_a_nucleus_tokens_come_with_their_probability() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.2]]).log().repeat(4000, 1)
    drawn = choose(logits, Sampling(), torch.Generator().manual_seed(0)).bincount(minlength=3) / 4000
    assert drawn.tolist() == pytest.approx([0.5, 0.3, 0.2], abs=0.03)


def test_temperature_zero_is_greedy() -> None:
    assert choose(torch.tensor([[0.0, 2.0, 1.0]]), Sampling(temperature=0), torch.Generator()).tolist() == [1]


def test_the_cached_draw_is_the_models_own_greedy_continuation(folder: Path) -> None:
    model = loading.load_model(folder, "policy", packed=True, device=CPU)
    drawn = sample_ids(model, [5, 6, 7], 1, Sampling(max_new_tokens=6, temperature=0), eos=None)[0]
    plain = loading.load_model(folder, "policy", packed=False, device=CPU)
    ids = [5, 6, 7]
    for _ in range(6):
        with torch.no_grad():
            ids.append(int(plain(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    assert drawn == ids[3:]


def test_the_same_seed_draws_the_same_and_the_end_token_ends(folder: Path) -> None:
    model = loading.load_model(folder, "policy", packed=True, device=CPU)
    tokenizer = loading.load_tokenizer(folder)
    first, again, other = (
        sample(model, tokenizer, "Why?", 3, Sampling(max_new_tokens=8, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    row = sample_ids(model, [5], 1, Sampling(max_new_tokens=20, seed=3), eos=None)[0]
    assert sample_ids(model, [5], 1, Sampling(max_new_tokens=20, seed=3), eos=row[4])[0] == row[: row.index(row[4])]


def test_settings_out_of_range_are_refused(folder: Path) -> None:
    model = loading.load_model(folder, "policy", packed=True, device=CPU)
    tokenizer = loading.load_tokenizer(folder)
    for wrong in (Sampling(temperature=-1), Sampling(top_p=0), Sampling(max_new_tokens=0)):
        with pytest.raises(ValueError, match="temperature must be"):
            sample(model, tokenizer, "Why?", 1, wrong)


def test_the_best_of_n_is_the_one_that_the_reward_model_scores_highest(folder: Path) -> None:
    policy = loading.load_model(folder, "policy", packed=True, device=CPU)
    reward = loading.load_model(folder, "reward", packed=True, device=CPU)
    tokenizer = loading.load_tokenizer(folder)
    judged = best_of_n(policy, tokenizer, reward, tokenizer, "Why?", 4, Sampling(max_new_tokens=6))
    scores = score_completions(reward, tokenizer, ["Why?"], [[one.completion for one in judged]])[0]
    assert [one.score for one in judged] == pytest.approx(scores, abs=1e-5)
    assert scores == sorted(scores, reverse=True)
