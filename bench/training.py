"""Training against TRL, interleaved in one process on the same tokens, weights and batches.

`python bench/training.py [--quick] [--device cpu|cuda] [--qa FOLDER]` prints one JSON object a line (needs the extras
train and dev). A ratio is TRL's CPU seconds (on CUDA: seconds) per pair over ours; both do a whole update: forward,
backward, clip, AdamW. The data are dialogues of HH's shape, written by rules; with `--qa` also QA-Feedback's questions,
which are then the ranked lists too. `random` means TRL's own order of rows, and the reference computed by both in each
step; `best_peer` means rows grouped by length and the reference stored, by both.
"""

import argparse
import json
import signal
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.learn import data, gpu, models, sides, start
from bench.learn.measure import Distance, peak_bytes, ratio, report
from training import run as training_run
from training.engine import loading
from training.engine.readers.files import read_groups
from training.engine.tokens import Lengths, tokenise

CPU = torch.device("cpu")
LIST_PAIRS = 12  # two lists of four, all pairs


def that_fit(folder: Path, rows: list[data.Row], count: int) -> list[data.Row]:
    """The first rows whose every completion fits, so that neither side cuts or drops any: `count`, or as many whole
    batches as there are."""
    lengths = Lengths(sides.MAX_LENGTH, None, "drop")
    groups = read_groups([data.write(folder / "lists.jsonl", rows)], "ranking")
    kept = {group.id for group in tokenise(groups, loading.load_tokenizer(folder), lengths)[0]}
    fitting = [row for row in rows if row["id"] in kept]
    count = min(count, len(fitting) // sides.BATCH * sides.BATCH)
    if not count:
        raise SystemExit(f"Only {len(fitting)} of {len(rows)} rows fit {sides.MAX_LENGTH} tokens: not one batch.")
    return fitting[:count]


def bench_tiny(folder: Path, lists: list[data.Row], rounds: int, source: str, suffix: str, apart: Distance) -> None:
    """DPO in TRL's order and at TRL's best, and a reward model, with a model of 5M parameters."""
    models.make_model(folder, models.TINY, lists)
    rows = data.pairs(that_fit(folder, lists, 8 * sides.BATCH))
    figure = f"dpo_cpu_ratio_tiny_random{suffix}"
    bout = sides.dpo(folder, rows, CPU)
    apart.measure(figure, bout)
    ratio(figure, 4.0, bout, rounds, CPU, data=source)
    if not suffix:
        apart.follow(figure, bout)
        bench_memory(bout, source)
    figure = f"dpo_cpu_ratio_tiny_best_peer{suffix}"
    bout = sides.dpo(folder, rows, CPU, best_peer=True)
    apart.measure(figure, bout)
    ratio(figure, 2.0, bout, rounds, CPU, data=source)
    figure = f"rm_cpu_ratio_tiny{suffix}"
    bout = sides.reward(folder, rows, CPU)
    apart.measure(figure, bout)
    ratio(figure, 3.0, bout, rounds, CPU, data=source)


def bench_memory(bout: sides.Bout, source: str) -> None:
    """What a step allocates at its peak, on the batch that is largest for TRL."""
    widest = max(range(len(bout.batches)), key=lambda number: bout.batches[number]["input_ids"].numel())
    peaks = {name: peak_bytes(lambda side=side: side.step(widest), CPU) for name, side in _both(bout)}  # type: ignore[misc]
    value = peaks["ours"] / peaks["theirs"]
    report("step_memory_ratio", round(value, 3), "share", 0.5, value <= 0.5, peak_bytes=peaks, data=source)


def _both(bout: sides.Bout) -> list[tuple[str, sides.Side]]:
    return [("theirs", bout.theirs), ("ours", bout.ours)]


def bench_lists(folder: Path, lists: list[data.Row], rounds: int, source: str, apart: Distance) -> None:
    """Ranked lists of four, all six pairs, against TRL on the pairs as rows (the lists together, which suits it)."""
    models.make_model(folder, models.TINY, lists)
    complete = [row for row in lists if len(set(row["ranks"])) == len(row["ranks"])]
    rows = list(data.expanded(that_fit(folder, complete, 16)))
    changes: dict[str, Any] = {
        "per_device_train_batch_size": LIST_PAIRS,
        "train_sampling_strategy": "sequential",
    }
    bout = sides.dpo(folder, rows, CPU, grouped=sides.as_lists, **changes)
    apart.measure("listwise4_cpu_ratio", bout)
    ratio("listwise4_cpu_ratio", 4.0, bout, rounds, CPU, data=source)


def bench_small(folder: Path, lists: list[data.Row], rounds: int, source: str) -> None:
    """DPO with a model of 30M parameters."""
    models.make_model(folder, models.SMALL, lists)
    rows = data.pairs(that_fit(folder, lists, 4 * sides.BATCH))
    ratio("dpo_cpu_ratio_small_random", 3.5, sides.dpo(folder, rows, CPU), rounds, CPU, data=source)


def bench_sweep(folder: Path, lists: list[data.Row]) -> None:
    """Two runs of a sweep, as they are started: the second has another learning rate and computes no reference."""
    models.make_model(folder, models.TINY, lists)
    rows = data.write(folder / "pairs.jsonl", data.pairs(lists[:16]))
    computed = []
    for number, rate in enumerate((1e-4, 3e-4)):
        run_dir = folder / f"run-{number}"
        run_dir.mkdir()
        raw = {"schema": 1, "objective": "dpo", "base_model": str(folder), "data": {"train": [rows]}, "max_steps": 1}
        settings = {**raw, "learning_rate": rate, "device": "cpu", "reference_cache": str(folder / "reference")}
        (run_dir / "run.json").write_text(json.dumps(settings), encoding="utf-8")
        if training_run.execute(run_dir) != training_run.FINISHED:
            raise SystemExit((run_dir / "result.json").read_text(encoding="utf-8"))
        computed.append(json.loads((run_dir / "result.json").read_text(encoding="utf-8"))["reference_forwards"])
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a run takes it for itself
    report("second_run_reference_forwards", computed[1], "sequences", 0, computed[1] == 0, first_run=computed[0])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--qa", type=Path, help="a folder with QA-Feedback's dev_feedback.json")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.device == "cuda":
            gpu.bench(folder / "gpu", torch.device("cuda"), 4 if options.quick else 30)
            return
        rounds, apart = 4 if options.quick else 24, Distance()
        dialogues = data.hh_shaped(160)
        start.bench(folder / "start")
        bench_sweep(folder / "sweep", dialogues)
        bench_tiny(folder / "tiny", dialogues, rounds, "HH-shaped", "", apart)
        questions = data.qa_feedback(options.qa) if options.qa else []
        if questions:
            bench_tiny(folder / "qa", questions, rounds, "qa_feedback", "_qa", apart)
        lists = questions or data.hh_shaped(60, completions=4)
        bench_lists(folder / "lists", lists, rounds, "qa_feedback" if questions else "HH-shaped", apart)
        bench_small(folder / "small", dialogues, max(2, rounds // 4), "HH-shaped")
        apart.report()


if __name__ == "__main__":
    main()
