"""The one registry of routing strategies; each family has a file. To add one, write it and list it here."""

from __future__ import annotations

from collections.abc import Mapping

from routing.ppm.strategies.adaptive import ADAPTIVE_ADVANTAGE
from routing.ppm.strategies.advantage import ADV_PER_COST, ADV_TOPK
from routing.ppm.strategies.doubt import DISAGREEMENT, UNCERTAINTY
from routing.ppm.strategies.guided import PPM_GUIDED
from routing.ppm.strategies.hyper import HYPER_OPTIMAL, HYPER_SIMULATED, HYPER_TOPK
from routing.ppm.strategies.length import LENGTH_GAP
from routing.ppm.strategies.oracle import ORACLE
from routing.ppm.strategies.pure import ALL_HUMAN, ALL_JUDGE
from routing.ppm.strategies.random_draw import RANDOM
from routing.ppm.strategies.strategy import Strategy

STRATEGIES: Mapping[str, Strategy] = {
    strategy.name: strategy
    for strategy in (
        RANDOM,
        ALL_JUDGE,
        ALL_HUMAN,
        DISAGREEMENT,
        UNCERTAINTY,
        LENGTH_GAP,
        ADV_TOPK,
        ADV_PER_COST,
        PPM_GUIDED,
        ADAPTIVE_ADVANTAGE,
        HYPER_TOPK,
        HYPER_SIMULATED,
        HYPER_OPTIMAL,
        ORACLE,
    )
}
BATCH_DEFAULT, ONLINE_DEFAULT = PPM_GUIDED.name, ADAPTIVE_ADVANTAGE.name


def strategy_named(name: str) -> Strategy:
    """The strategy of that name. Raises ValueError with the known names."""
    try:
        return STRATEGIES[name]
    except KeyError:
        raise ValueError(f"No strategy is called {name!r}; known are {', '.join(STRATEGIES)}.") from None


__all__ = ["BATCH_DEFAULT", "ONLINE_DEFAULT", "STRATEGIES", "Strategy", "strategy_named"]
