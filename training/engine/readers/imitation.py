"""Rows whose texts a policy imitates: demonstrations, rated, criticised and refined completions."""

from dataclasses import replace

from training.engine.readers.groups import Row, group_of, is_rating
from training.engine.readers.preferences import pair
from training.engine.records import Group, Label, Text, continued, number_of, text_of
from training.engine.render import plain_completion


def demonstration(row: Row, place: str, margin_scale: float) -> Group:
    """A completion to imitate."""
    del margin_scale
    return _imitated(row, place, text_of(row, "completion"))


def controlled(row: Row, place: str, margin_scale: float) -> Group:
    """A rated completion, after its prompt with a line that says the ratings: `[helpful: 4/5, short: 1/3]`."""
    del margin_scale
    ratings = row.get("ratings") or []
    if not isinstance(ratings, list) or any(not is_rating(one) for one in ratings):
        raise ValueError("ratings are no list of scale, value and highest value")
    if row.get("completion") is None:
        return _imitated(row, place, "", "rates the instance and no completion")
    line = ", ".join(f"{one['scale']}: {one['value']}/{one['high']}" for one in ratings)
    group = _imitated(row, place, text_of(row, "completion"), "" if line else "has no rating")
    return replace(group, prompt=continued(group.prompt, f"[{line}]"))


def hindsight(row: Row, place: str, margin_scale: float) -> Group:
    """The rejected completion, then the chosen one."""
    both = pair(row, place, margin_scale)
    good, bad = (plain_completion(completion) for completion in both.completions)
    tie = "a tie has no better side" if both.preferences[0].probability == 0.5 else ""
    if both.preferences[0].probability < 0.5:
        good, bad = bad, good
    return _imitated(row, place, f"Bad: {bad}\n\nGood: {good}", tie)


def criticised(row: Row, place: str, margin_scale: float) -> Group:
    """A completion, what was said of it, and its refinement."""
    told = refined(row, place, margin_scale)
    critique = str(row.get("critique") or "").strip()
    said = f"\n\nCritique: {critique}" if critique else ""
    story = f"Bad: {plain_completion(text_of(row, 'completion'))}{said}\n\nGood: "
    return replace(told, completions=(story + plain_completion(told.completions[0]),))


def refined(row: Row, place: str, margin_scale: float) -> Group:
    """The refinement of a completion."""
    del margin_scale
    if row.get("refinement") is None:
        return _imitated(row, place, "", "has no refinement")
    return _imitated(row, place, text_of(row, "refinement"))


def _imitated(row: Row, place: str, completion: Text, unusable: str = "") -> Group:
    weight = number_of(row, "weight", low=0)
    label = Label(gain=1.0, weight=1.0 if weight is None else weight)
    return group_of(row, place, (completion,), (), (label,), unusable)
