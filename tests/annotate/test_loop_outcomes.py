"""The loop's arithmetic: means over seeds, paired differences, and a report that says no more than it knows."""

from __future__ import annotations

import pytest

from annotate.loop.outcomes import Outcome, by_labels, difference, lines, mean
from annotate.loop.report import page, table


def outcome(strategy: str, seed: int, labels: dict[str, float], share: float = 0.5) -> Outcome:
    prompts = {key: key[0] for key in labels}
    return Outcome(strategy, share, seed, share, 10.0, "USD", labels, labels, prompts)


def test_the_mean_is_over_items_then_over_seeds() -> None:
    first = outcome("random", 0, {"a1": 1.0, "a2": 0.0, "b1": 1.0})
    second = outcome("random", 1, {"a1": 0.0, "b1": 0.0})
    assert mean([first, second], by_labels).value == pytest.approx((2 / 3 + 0) / 2)


def test_a_difference_is_paired_by_seed_and_item() -> None:
    ours = [outcome("adv_topk", 0, {"a1": 1.0, "b1": 1.0, "c1": 0.0})]
    theirs = [outcome("random", 0, {"a1": 0.0, "b1": 1.0, "d1": 1.0}), outcome("random", 9, {"a1": 1.0})]
    assert difference(ours, theirs, by_labels).value == pytest.approx(0.5)
    with pytest.raises(ValueError, match="no seed"):
        difference(ours, [outcome("random", 9, {"a1": 1.0})], by_labels)


def test_identical_strategies_are_not_told_apart_and_a_sure_gain_is() -> None:
    items = {f"{chr(97 + n)}1": float(n % 2) for n in range(20)}
    better = dict.fromkeys(items, 1.0)
    report = lines([outcome("random", 0, items), outcome("same", 0, items), outcome("better", 0, better)])
    assert [line.verdict for line in report] == ["", "not told apart", "beats random"]


def test_the_report_escapes_what_it_shows() -> None:
    report = lines([outcome("<b>random", 0, {"a1": 1.0, "b1": 0.0})])
    text = page(report, {"data": "<script>x</script>"})
    assert "<script>" not in text
    assert "&lt;b&gt;random" in text
    assert "0.500" in table(report)
