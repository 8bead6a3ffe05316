"""Whether objectives learn a rule that was planted: on whole models, and on rankings in a linear world.

`python bench/planted.py [--quick] [--device cpu] [--only FIGURE ...]`; one JSON object a line. The rule of the planted
texts is in `training/base_model.py`: sentences about the subject count for a completion, all others against it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.training.objective_cases import lists, run, tensor
from training.base_model import FILLER, preference_pairs
from training.engine import loading
from training.engine.segments import pieces
from training.evaluation.accuracy import bootstrap_interval
from training.generation.best_of_n import best_of_n
from training.generation.sample import Sampling, sample

REPOSITORY = Path(__file__).resolve().parent.parent
PROMPTS, LISTS, WIDTH, LENGTH = 60, 60, 20, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer prompts and shorter runs")
    parser.add_argument("--device", choices=["cpu"], default="cpu", help="nothing here is large enough for a GPU")
    parser.add_argument("--base", type=Path, help="a base model made before, by default one is made")
    figures = ["rankings", "reward", "policy"]
    parser.add_argument("--only", nargs="*", choices=figures, default=figures)
    options = parser.parse_args()
    if "rankings" in options.only:
        rankings(seeds=3 if options.quick else 10)
    with tempfile.TemporaryDirectory(prefix="tiebreak-bench-") as name:
        folder = Path(name)
        for figure, measure in (("reward", reward), ("policy", policy)):
            if figure in options.only:
                (folder / figure).mkdir()
                measure(folder / figure, options.base or made(folder / "base"), quick=options.quick)


def made(base: Path) -> Path:
    """The small base model of the demo."""
    if not base.exists():
        command = [sys.executable, "-m", "training.base_model", str(base)]
        subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY)
    return base


def tell(figure: str, value: float, goal: float | None, **detail: Any) -> None:
    line = {"figure": figure, "value": round(value, 3), "unit": "share", "goal": goal}
    print(json.dumps(line | {"holds": None if goal is None else value > goal, "detail": detail}), flush=True)


def rankings(seeds: int) -> None:
    """Held-out pair accuracy of a linear policy that learns a planted reward from noisy rankings of four."""
    names = {"dpo": {"beta": 1.0}, "lipo_lambda": {"beta": 1.0}, "pro": {"sft_weight": 0.0}, "plackett_luce": {}}
    found = {name: [learned(name, given, seed) for seed in range(seeds)] for name, given in names.items()}
    for name, values in found.items():
        better = np.array(values) - np.array(found["dpo"])
        tell(
            f"rankings_of_4_{name}_accuracy",
            float(np.mean(values)),
            None,
            seeds=seeds,
            over_pairs=round(float(better.mean()), 4),
            standard_error=round(float(better.std(ddof=1) / seeds**0.5), 4),
        )


def learned(name: str, given: dict[str, Any], seed: int) -> float:
    """Accuracy over fresh pairs after learning by an objective; rankings are drawn by Plackett-Luce from the reward."""
    generator = np.random.default_rng(seed)
    planted, features = generator.normal(size=WIDTH) / 2, generator.normal(size=(LISTS * LENGTH, WIDTH))
    noisy = (features @ planted + generator.gumbel(size=LISTS * LENGTH)).reshape(LISTS, LENGTH)
    ranks = (1 + (-noisy).argsort(axis=1).argsort(axis=1)).tolist()
    weights = torch.zeros(WIDTH, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weights], max_iter=60, line_search_fn="strong_wolfe")
    case = lists(ranks)

    def step() -> Any:
        solver.zero_grad()
        values = tensor(features) @ weights
        told = {"logps": values, "ref_logps": torch.zeros_like(values), "scored": torch.ones(len(values))}
        loss = run(name, replace(case, scores=values[:, None], **told), **given)
        total = loss.terms.sum() / loss.weights.sum() + 1e-2 * (weights**2).sum()
        total.backward()
        return total

    solver.step(step)
    fresh = np.random.default_rng(999).normal(size=(4000, WIDTH))
    return float((np.sign(fresh @ weights.detach().numpy()) == np.sign(fresh @ planted)).mean())


def reward(folder: Path, base: Path, *, quick: bool) -> None:
    """A reward model of the planted preference: sentences about the subject count for a completion."""
    found = train(folder, "bt", preference_pairs(1500 if quick else 2900), base, learning_rate=3e-3)
    told = {name: found[name] for name in ("seconds", "cpu", "interval")}
    tell("reward_accuracy", found["accuracy"], 0.85, **told)


def policy(folder: Path, base: Path, *, quick: bool) -> None:
    """A DPO policy, and the best of four by a reward model, against what the base model writes; the rule judges.

    The rule is fewer sentences of filler: a base model of a million parameters does not name the subject it is asked
    about, so that its own texts are all alike to a rule about subjects.
    """
    rows = by_filler(preference_pairs(500 if quick else 2000, seed=3))
    judged = train(folder, "bt", rows, base, learning_rate=1e-3)
    train(folder, "dpo", rows, base, learning_rate=5e-4, objective_options={"beta": 0.1})
    device = torch.device("cpu")
    before, after = (
        loading.load_model(place, "policy", packed=False, device=device) for place in (base, folder / "dpo" / "model")
    )
    judge = loading.load_model(folder / "bt" / "model", "reward", packed=True, device=device)
    own, judges = (loading.load_tokenizer(place) for place in (base, folder / "bt" / "model"))
    asked = [tuple(row["prompt"]) for row in preference_pairs(20 if quick else PROMPTS, seed=77)]
    points: dict[str, list[float]] = {"dpo_win_rate": [], "best_of_4_win_rate": []}
    for number, prompt in enumerate(asked):
        drawing = Sampling(max_new_tokens=64, seed=number)
        plain = filler(sample(before, own, prompt, 1, drawing)[0])
        learned_text = sample(after, own, prompt, 1, drawing)[0]
        best = best_of_n(before, own, judge, judges, prompt, 4, replace(drawing, seed=number + 1000))[0].completion
        points["dpo_win_rate"].append((1 + np.sign(plain - filler(learned_text))) / 2)
        points["best_of_4_win_rate"].append((1 + np.sign(plain - filler(best))) / 2)
    for name, values in points.items():
        low, high = bootstrap_interval(np.array(values), [str(number) for number in range(len(values))])
        detail = {"prompts": len(values), "interval": [low, high], "judge_accuracy": judged["accuracy"]}
        tell(name, float(np.mean(values)), 0.5, **detail)


def by_filler(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pairs whose sides differ in their share of filler, less of it chosen."""
    found = []
    for row in rows:
        shares = {side: filler(row[side][-1]["content"]) for side in ("chosen", "rejected")}
        good, bad = sorted(shares, key=shares.__getitem__)
        if shares[good] < shares[bad]:
            found.append(row | {"chosen": row[good], "rejected": row[bad], "strength": 1})
    return found


def filler(text: str) -> float:
    """The share of its sentences that are filler; a text without a sentence is none but filler."""
    sentences = [text[start:end] for start, end in pieces(text, "sentence")]
    return sum(one in FILLER for one in sentences) / len(sentences) if sentences else 1.0


def train(folder: Path, objective: str, rows: list[dict[str, Any]], base: Path, **changes: Any) -> dict[str, Any]:
    place = folder / objective
    place.mkdir()
    held = len(rows) // 6
    for name, part in (("train", rows[held:]), ("test", rows[:held])):
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
    asked = {
        "schema": 1,
        "objective": objective,
        "base_model": str(base),
        "data": {name: [str(place / f"{name}.jsonl")] for name in ("train", "test")},
        "warmup_steps": 0.1,
        "tokens_per_batch": 1024,
        "device": "cpu",
    }
    (place / "run.json").write_text(json.dumps(asked | changes), encoding="utf-8")
    begin, before = time.perf_counter(), children_cpu()
    subprocess.run([sys.executable, "-m", "training.run", str(place)], capture_output=True, cwd=REPOSITORY)
    seconds, used = time.perf_counter() - begin, children_cpu() - before
    result = json.loads((place / "result.json").read_text())
    if result["status"] != "finished":
        raise SystemExit(f"{objective}: {result['error']}")
    found = result["evaluation"]["test"]
    interval = [round(found[end], 3) for end in ("low", "high")]
    return {"accuracy": found["accuracy"], "interval": interval, "seconds": round(seconds, 1), "cpu": round(used, 1)}


def children_cpu() -> float:
    """CPU seconds of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
