"""Rows of a dataset version → groups: one reader for each kind of feedback, see `catalogue.Objective.consumes`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from training.engine.errors import RunError
from training.engine.readers import attributes, imitation, preferences, spans
from training.engine.readers.groups import Row
from training.engine.records import Group, file_rows
from training.objectives.catalogue import Objective, Reader

_SHOWN_ERRORS = 20


def read_groups(
    paths: Sequence[str],
    reader: Reader = "pair",
    *,
    margin_scale: float = 0.0,
    directions: int = 1,
    unmarked: Literal["clean", "skip"] = "clean",
) -> list[Group]:
    """Groups of all rows of the files, in order. An edge's margin is `margin_scale` × how far apart its sides are.
    `directions` and `unmarked` are the options of that name.

    Raises RunError naming the rows that cannot be read.
    """
    groups: list[Group] = []
    faults: list[tuple[str, str]] = []
    for path in paths:
        for place, row in file_rows(Path(path)):
            try:
                if not isinstance(row, dict):
                    raise ValueError("is not a JSON object")
                groups.append(_READERS[reader](row, place, margin_scale))
            except ValueError as error:
                faults.append((place, str(error)))
    if faults:
        first = "; ".join(f"{place}: {reason}" for place, reason in faults[:3])
        raise RunError(f"{len(faults)} rows cannot be read: {first}.", [place for place, _ in faults[:_SHOWN_ERRORS]])
    match reader:
        case "ratings":
            return preferences.by_prompt(groups, margin_scale)
        case "attributes":
            return attributes.together(groups)
        case "directed":
            return [one for group in attributes.together(groups) for one in attributes.directed(group, directions)]
        case "marked" if unmarked == "skip":
            return [spans.only_marked(group) for group in groups]
        case _:
            return groups


def traits_of(objective: Objective, groups: Sequence[Group]) -> tuple[str, ...]:
    """The names that a model's scores stand for, where its data say: the attributes rated in the groups, or the error
    types marked in them, in alphabetical order. Raises RunError where an objective that learns them has none."""
    labels = [label for group in groups if not group.unusable for label in group.labels]
    if "segments" in objective.needs:
        names = {mark.type for label in labels for mark in label.marks or ()}
        lacking = "no marked span"
    elif "rewards" in objective.needs:
        names = {name for label in labels for name, _ in label.attributes}
        lacking = "no rating"
    else:
        return ()
    if not names:
        raise RunError(f"The training rows hold {lacking}.")
    return tuple(sorted(names))


_READERS: Mapping[Reader, Callable[[Row, str, float], Group]] = {
    "pair": preferences.pair,
    "ranking": preferences.ranking,
    "ratings": preferences.rated,
    "unpaired": preferences.unpaired,
    "demonstration": imitation.demonstration,
    "controlled": imitation.controlled,
    "hindsight": imitation.hindsight,
    "criticised": imitation.criticised,
    "refined": imitation.refined,
    "ordered": preferences.ordered,
    "attributes": attributes.attributed,
    "directed": attributes.attributed,
    "marked": spans.marked,
}
