import pytest
import torch
from torch import Tensor

from training.engine.attention import Implementation, Tree, tree_attention

CPU = torch.device("cpu")
SHAPES = [
    ((3, (2, 4)),),
    ((5, (1, 1)), (1, (6, 2)), (4, (3, 3, 2))),
    ((0, (3, 2)), (2, (2, 5))),
]


def attend(shape: tuple[tuple[int, tuple[int, ...]], ...], how: Implementation, kv_heads: int = 4) -> list[Tensor]:
    tree = Tree(shape, how, CPU)
    total = sum(tree.lengths)
    generator = torch.Generator().manual_seed(1)
    inputs = [torch.randn(1, heads, total, 16, generator=generator) for heads in (4, kv_heads, kv_heads)]
    for tensor in inputs:
        tensor.requires_grad_()
    query, key, value = inputs
    output = tree_attention(torch.nn.Identity(), query, key, value, None, scaling=0.3, tree=tree)[0]
    weight = torch.randn(output.shape, generator=generator)
    gradients = torch.autograd.grad((output * weight).sum(), inputs)
    return [output.detach(), *gradients]


def test_a_token_sees_its_prefix_and_its_own_completion_only() -> None:
    mask = Tree(((2, (1, 2)), (1, (1, 1))), "dense", CPU).mask[0, 0].int().tolist()
    assert mask == [
        [1, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0, 0],  # first completion
        [1, 1, 0, 1, 0, 0, 0, 0],  # second completion does not see the first
        [1, 1, 0, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 1, 0, 0],  # the next group sees nothing of this one
        [0, 0, 0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 1, 0, 1],
    ]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("how", ["segments", "varlen"])
def test_pieces_equal_one_masked_call_in_value_and_gradient(
    shape: tuple[tuple[int, tuple[int, ...]], ...], kv_heads: int, how: Implementation
) -> None:
    for ours, dense in zip(attend(shape, how, kv_heads), attend(shape, "dense", kv_heads), strict=True):
        torch.testing.assert_close(ours, dense, atol=1e-5, rtol=1e-5)


def test_the_sequences_of_a_pack_repeat_a_prefix_before_each_completion() -> None:
    sequences = Tree(((2, (1, 2)), (0, (2, 1))), "varlen", CPU).sequences
    assert sequences.key.tolist() == [0, 1, 0, 1, 2, 0, 1, 3, 4, 5, 6, 7]
    assert sequences.starts_q.tolist() == [0, 2, 3, 5, 7, 8]
    assert sequences.starts_k.tolist() == [0, 2, 5, 9, 11, 12]
    assert (sequences.longest_q, sequences.longest_k) == (2, 4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_the_block_mask_says_the_same_rule(shape: tuple[tuple[int, tuple[int, ...]], ...], kv_heads: int) -> None:
    generator = torch.Generator().manual_seed(2)
    total = sum(Tree(shape, "dense", CPU).lengths)
    inputs = [torch.randn(1, heads, total, 16, generator=generator) for heads in (4, kv_heads, kv_heads)]
    query, key, value = inputs
    kinds: tuple[Implementation, ...] = ("flex", "dense")
    with torch.no_grad():
        flex, dense = (
            tree_attention(torch.nn.Identity(), query, key, value, None, tree=Tree(shape, how, CPU))[0] for how in kinds
        )
    torch.testing.assert_close(flex, dense, atol=1e-5, rtol=1e-5)


def test_without_a_tree_it_refuses_instead_of_attending_to_the_future() -> None:
    q = torch.zeros(1, 1, 2, 4)
    with pytest.raises(ValueError, match="needs the tree"):
        tree_attention(torch.nn.Identity(), q, q, q, None)
