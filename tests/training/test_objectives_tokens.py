"""DPO with rewards of single tokens."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.objective_cases import arrays, log_sigmoid, pairs, part, run, tensor
from tests.training.tiny_models import make_tokenizer, save_tiny
from training.engine import loading
from training.engine.contrast import BAD, GOOD, asked_for, rewards_of_tokens
from training.engine.records import Group, Preference
from training.engine.tokens import Lengths, tokenise
from training.objectives.tokenwise import token_rewards


def test_the_loss_is_that_of_the_numpy_oracle() -> None:
    case = pairs()
    loss = run("t_reg", case, beta=0.3, token_weight=0.7)
    a, tokens = arrays(case), case.tokens
    rho = 0.3 * (a["lp"] - a["ref"])
    h = rho[a["l"]] - rho[a["r"]]
    sequence = -a["p"] * log_sigmoid(h) - (1 - a["p"]) * log_sigmoid(-h)
    regular = np.zeros(12)
    np.add.at(regular, tokens.completion.numpy(), -0.3 * tokens.rewards.numpy() * tokens.logps.numpy())
    doubt = np.abs(a["p"] - 1 / (1 + np.exp(-h)))
    expected = a["w"] * (sequence + 0.7 * doubt * (regular[a["l"]] + regular[a["r"]]))
    np.testing.assert_allclose(loss.terms.numpy(), expected, rtol=1e-10)


def test_gradients_pass_gradcheck_with_the_doubt_held_fixed() -> None:
    case = pairs(1)
    logps = case.tokens.logps.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: run("t_reg", replace(case, tokens=replace(case.tokens, logps=x))).terms.sum(), (logps,)
    )
    # through the whole completions' log-probabilities it is the gradient of dpo: the doubt has none of its own
    gradients = []
    for name in ("t_reg", "dpo"):
        whole = case.logps.clone().requires_grad_()
        run(name, replace(case, logps=whole)).terms.sum().backward()  # type: ignore[no-untyped-call]
        gradients.append(whole.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("change", [{"token_weight": 0.0}, {}])
def test_without_token_rewards_it_is_dpo(change: dict[str, Any]) -> None:
    case = pairs(2)
    if not change:
        case = replace(case, tokens=replace(case.tokens, rewards=torch.zeros_like(case.tokens.rewards)))
    torch.testing.assert_close(run("t_reg", case, **change).terms, run("dpo", case).terms)


def test_splitting_a_batch_changes_nothing() -> None:
    case = pairs(3)
    halves = [run("t_reg", part(case, groups)) for groups in ([0, 3, 1], [2, 4, 5])]
    assert sum(float(half.terms.sum()) for half in halves) == pytest.approx(float(run("t_reg", case).terms.sum()))


def test_token_rewards_lie_between_halves_and_are_none_where_nothing_tells() -> None:
    found = token_rewards(tensor([-1.0, -50.0, 0.0]), tensor([-1.0, 0.0, -50.0]))
    np.testing.assert_allclose(found.numpy(), [0, -0.5, 0.5], atol=1e-12)


def test_rewards_are_those_of_a_plain_forward_under_both_prompts(tmp_path: Any) -> None:
    folder, tokenizer = save_tiny(tmp_path, scale=3.0), make_tokenizer()
    prompt = ({"role": "user", "content": "What is the apple?"},)
    source = Group("g", "p", "s", prompt, ("The apple is red.", "The apple is a lie."), (Preference(0, 1),))
    (group,), _ = tokenise([source], tokenizer, Lengths(256, None, "drop"))
    found = {}
    for packed in (True, False):
        model = loading.load_model(folder, "policy", packed=packed, device=torch.device("cpu"))
        good, bad = (asked_for(line, [group], {"p": prompt}, tokenizer, 256) for line in (GOOD, BAD))
        path: Any = "segments" if packed else "padded"
        (found[packed],) = rewards_of_tokens(
            model, good, bad, path=path, budget=512, precision="fp32", after_batch=lambda done: None
        )
    for number, completion in enumerate(group.completions):
        logps = []
        for line in (GOOD, BAD):
            asked = [{"role": "user", "content": f"What is the apple?\n\n{line}"}]
            start = tokenizer.apply_chat_template(asked, tokenize=True, add_generation_prompt=True, return_dict=False)
            ids = torch.tensor([[*start, *completion]])
            with torch.no_grad():
                logits = model(ids).logits[0, len(start) - 1 : -1].log_softmax(dim=-1)
            logps.append(logits.gather(1, torch.tensor(completion)[:, None])[:, 0])
        expected = token_rewards(*logps)
        assert expected.abs().max() > 1e-4
        for packed in (True, False):
            np.testing.assert_allclose(found[packed][number], expected, atol=1e-5)
