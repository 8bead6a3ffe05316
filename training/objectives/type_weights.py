"""How much each error type takes from a reward, as people write it."""

import math
from collections.abc import Mapping


def parse_type_weights(text: str) -> Mapping[str, float]:
    """`Irrelevant = 2, Redundant = 0.5` as a mapping. Raises ValueError naming the part that is no weight."""
    weights: dict[str, float] = {}
    for part in filter(str.strip, text.split(",")):
        name, sign, value = (piece.strip() for piece in part.rpartition("="))
        try:
            weight = float(value)
        except ValueError:
            weight = math.nan
        if not (sign and name and math.isfinite(weight) and weight >= 0):
            raise ValueError(f"“{part.strip()}” is no weight of an error type; write it as Irrelevant = 2")
        weights[name] = weight
    return weights
