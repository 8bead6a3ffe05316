import pytest
import torch

from training.engine import heads
from training.engine.heads import completion_sums, token_logps


def case(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(7, 5, generator=generator, dtype=dtype, requires_grad=True)
    weight = torch.randn(11, 5, generator=generator, dtype=dtype, requires_grad=True)
    return hidden, weight, torch.tensor([0, 10, 3, 3, 7, 1, 5])


def test_log_probabilities_are_those_of_a_plain_softmax() -> None:
    hidden, weight, target = case()
    plain = (hidden @ weight.T).log_softmax(-1).gather(1, target[:, None]).squeeze(1)
    torch.testing.assert_close(token_logps(hidden, weight, target), plain)


@pytest.mark.parametrize(("keep", "chunk"), [(2**28, 2**25), (0, 2**25), (2**28, 4 * 11 * 2), (0, 4 * 11 * 3)])
def test_gradients_pass_gradcheck_whether_probabilities_are_kept_or_computed_again(
    monkeypatch: pytest.MonkeyPatch, keep: int, chunk: int
) -> None:
    monkeypatch.setattr(heads, "KEEP_BYTES", keep)
    monkeypatch.setattr(heads, "CHUNK_BYTES", chunk)
    hidden, weight, target = case()
    assert torch.autograd.gradcheck(lambda h, w: token_logps(h, w, target), (hidden, weight), nondet_tol=1e-12)


def test_a_frozen_head_gets_no_gradient() -> None:
    hidden, weight, target = case()
    token_logps(hidden, weight.detach(), target).sum().backward()  # type: ignore[no-untyped-call]
    assert hidden.grad is not None
    assert weight.grad is None


def test_a_second_backward_computes_the_kept_probabilities_again() -> None:
    hidden, weight, target = case()
    total = token_logps(hidden, weight, target).sum()
    first = torch.autograd.grad(total, hidden, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(total, hidden)[0], first)


def test_a_shared_token_counts_for_each_of_its_completions() -> None:
    values = torch.tensor([1.0, 10.0, 100.0])
    sums = completion_sums(values, torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 0, 1]), 2)
    assert sums.tolist() == [11.0, 101.0]
