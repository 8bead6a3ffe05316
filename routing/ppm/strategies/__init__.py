"""The one registry of routing strategies; each family has a file. To add one, write it and list it here."""

from __future__ import annotations

from collections.abc import Mapping

from routing.ppm.strategies.advantage import ADV_TOPK
from routing.ppm.strategies.disagreement import DISAGREEMENT
from routing.ppm.strategies.hyper import HYPER_TOPK
from routing.ppm.strategies.oracle import ORACLE
from routing.ppm.strategies.pure import ALL_HUMAN, ALL_JUDGE
from routing.ppm.strategies.random_draw import RANDOM
from routing.ppm.strategies.strategy import Strategy

STRATEGIES: Mapping[str, Strategy] = {
    strategy.name: strategy for strategy in (RANDOM, ALL_JUDGE, ALL_HUMAN, DISAGREEMENT, ADV_TOPK, HYPER_TOPK, ORACLE)
}


def strategy_named(name: str) -> Strategy:
    """The strategy of that name. Raises ValueError with the known names."""
    try:
        return STRATEGIES[name]
    except KeyError:
        raise ValueError(f"No strategy is called {name!r}; known are {', '.join(STRATEGIES)}.") from None


__all__ = ["STRATEGIES", "Strategy", "strategy_named"]
