"""Times, memory and distance of two sides, measured in turns."""

import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from bench.learn.sides import Bout


def report(figure: str, value: float, unit: str, goal: float, holds: bool, **detail: Any) -> None:
    """One line of the bench."""
    line = {"figure": figure, "value": value, "unit": unit, "goal": goal, "holds": holds, "detail": detail}
    print(json.dumps(line), flush=True)


def seconds(device: torch.device) -> float:
    """CPU seconds of this process; wall seconds where an accelerator does the work."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def ratio(figure: str, goal: float, bout: Bout, rounds: int, device: torch.device, **detail: Any) -> dict[str, Any]:
    """Updates of both sides in turns; reports the median of theirs / ours. Returns what it measured."""
    for side in (bout.theirs, bout.ours):
        side.step(0)
    spent: dict[str, list[float]] = {"theirs": [], "ours": []}
    for turn in range(rounds):
        for name, side in (("theirs", bout.theirs), ("ours", bout.ours)):
            begin = seconds(device)
            side.step(turn % len(bout.batches))
            spent[name].append(seconds(device) - begin)
    value = statistics.median(a / b for a, b in zip(spent["theirs"], spent["ours"], strict=True))
    medians = {name: statistics.median(values) / bout.pairs for name, values in spent.items()}
    measured = {"seconds_per_pair": medians, "rounds": rounds, "pairs": bout.pairs, **bout.tokens, **detail}
    measured["load"] = round(os.getloadavg()[0], 1)
    report(figure, round(value, 3), "x", goal, value >= goal, **measured)
    return measured


class Distance:
    """How far apart the two sides' losses and gradients are, the worst of all comparisons."""

    def __init__(self) -> None:
        self.loss: dict[str, float] = {}
        self.gradient: dict[str, float] = {}
        self.later: dict[str, float] = {}

    def measure(self, figure: str, bout: Bout) -> None:
        """The first batch, before any update."""
        theirs, ours = bout.theirs.gradient(0), bout.ours.gradient(0)
        self.loss[figure] = abs(theirs[0] - ours[0])
        off = sum(float((ours[1][name] - gradient).pow(2).sum()) for name, gradient in theirs[1].items())
        size = sum(float(gradient.pow(2).sum()) for gradient in theirs[1].values())
        self.gradient[figure] = (off / size) ** 0.5

    def follow(self, figure: str, bout: Bout) -> None:
        """The first batch again, after the updates that were timed."""
        self.later[figure] = abs(bout.theirs.gradient(0)[0] - bout.ours.gradient(0)[0])

    def report(self) -> None:
        """The worst of each."""
        for figure, found, unit, goal in (
            ("loss_abs_diff", self.loss, "nats", 1e-4),
            ("grad_rel_diff", self.gradient, "relative", 1e-4),
            ("loss_abs_diff_after_updates", self.later, "nats", 1e-3),
        ):
            report(figure, max(found.values()), unit, goal, max(found.values()) <= goal, of=found)


def peak_bytes(step: Callable[[], None], device: torch.device) -> int:
    """The most memory that a step has allocated at once, beyond what was there before it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    events: Any = recorded.profiler.kineto_results.events()  # type: ignore[union-attr]
    held = most = 0
    for event in sorted((one for one in events if one.name() == "[memory]"), key=lambda one: one.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most
