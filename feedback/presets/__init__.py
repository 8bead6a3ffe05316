"""Tasks to start from: definitions of tasks as files, in the same form that a task is exported in."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from feedback import strict_json
from feedback.definitions import Definition, parse_definition

# the order in which they are offered
NAMES = (
    *("five-steps", "three-steps", "multipref", "ultrafeedback", "fine-grained-rlhf"),
    *("oasst", "prism", "hh", "mqm"),
)


@cache
def preset(name: str) -> Definition:
    """The preset's definition. Raises KeyError for an unknown name."""
    if name not in NAMES:
        raise KeyError(name)
    return parse_definition(strict_json.parse((Path(__file__).parent / f"{name}.json").read_bytes()))


def presets() -> dict[str, Definition]:
    """All presets by name, in the order in which they are offered."""
    return {name: preset(name) for name in NAMES}
