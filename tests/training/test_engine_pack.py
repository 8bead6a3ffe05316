import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.tiny_models import random_groups
from training.engine.batches import Plan, fill
from training.engine.pack import make_batch
from training.engine.records import Preference
from training.engine.tokens import TokenGroup

CPU = torch.device("cpu")


def group(prompt: list[int], *completions: list[int]) -> TokenGroup:
    parts = tuple(tuple(part) for part in completions)
    return TokenGroup("g", "p", "s", tuple(prompt), parts, (Preference(1, 0, 2.0, 0.5, 0.75),))


def test_the_longest_common_prefix_is_stored_once_and_positions_restart_after_it() -> None:
    batch = make_batch([group([10, 11], [20, 21, 1], [20, 30, 31, 1])], "segments", CPU)
    assert batch.input_ids.tolist() == [[10, 11, 20, 21, 1, 30, 31, 1]]
    assert batch.position_ids is not None
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4, 3, 4, 5]]
    assert batch.tree is not None
    assert batch.tree.groups == ((3, (2, 3)),)
    assert batch.last.tolist() == [4, 7]
    assert batch.scored.tolist() == [3, 4]
    # 11 predicts the shared 20; 20 predicts 21 and 30; then each completion's own tokens
    assert list(zip(batch.source.tolist(), batch.target.tolist(), strict=True)) == [
        *((1, 20), (2, 21), (3, 1)),
        *((2, 30), (5, 31), (6, 1)),
    ]
    assert sorted(zip(batch.member_completion.tolist(), batch.member_token.tolist(), strict=True)) == [
        *((0, 0), (0, 1), (0, 2)),
        *((1, 0), (1, 3), (1, 4), (1, 5)),
    ]


def test_a_completion_that_starts_another_keeps_a_token_of_its_own() -> None:
    assert group([10], [20, 21], [20, 21, 22]).shared == 2


def test_the_padded_layout_scores_the_same_tokens() -> None:
    groups = random_groups(7)
    packed, padded = (make_batch(groups, how, CPU) for how in ("segments", "padded"))
    assert packed.scored.tolist() == padded.scored.tolist()
    for batch in (packed, padded):
        flat = batch.input_ids.flatten()
        ends = [flat[index].item() for index in batch.last]
        assert ends == [part[-1] for one in groups for part in one.completions]
        for completion, expected in enumerate(part for one in groups for part in one.completions):
            mine = batch.member_token[batch.member_completion == completion]
            assert batch.target[mine].tolist() == list(expected)


def test_edges_number_completions_through_the_batch() -> None:
    groups = [group([1], [2], [3]), group([1], [2], [3])]
    edges = make_batch(groups, "segments", CPU).edges
    assert edges.left.tolist() == [1, 3]
    assert edges.right.tolist() == [0, 2]
    assert edges.weight.tolist() == [2.0, 2.0]
    assert edges.margin.tolist() == [0.5, 0.5]
    assert edges.probability.tolist() == [0.75, 0.75]
    assert edges.group.tolist() == [0, 1]


@given(st.integers(0, 40), st.integers(10, 200), st.booleans())
def test_no_batch_is_above_the_budget_and_every_row_is_in_one(count: int, budget: int, padded: bool) -> None:
    groups = random_groups(count)
    batches = fill(range(count), groups, budget, padded=padded)
    assert [index for batch in batches for index in batch] == list(range(count))
    for batch in batches:
        rows, width = 2 * len(batch), max(groups[index].longest for index in batch)
        cost = rows * width if padded else sum(groups[index].packed_tokens for index in batch)
        assert cost <= budget or len(batch) == 1


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else() -> None:
    groups = random_groups(30)
    plan = Plan(groups, 100, 2, seed=4, padded=False)
    assert plan.epoch(0) == Plan(groups, 100, 2, seed=4, padded=False).epoch(0)
    assert plan.epoch(0) != plan.epoch(1)
    assert plan.epoch(0) != Plan(groups, 100, 2, seed=5, padded=False).epoch(0)
    assert plan.lengths(2) == [len(plan.epoch(0)), len(plan.epoch(1))]
    assert all(len(step) == 2 for step in plan.epoch(0)[:-1])
