"""The process that writes completions with policies: `python -m training.generate FOLDER`.

Reads `generation.json` and the prompts it names, and writes `state.json`, `result.json` and, a line as soon as a prompt
is done, `completions.jsonl`. Started again it goes on after the last whole line; each prompt has a seed of its own, so
the texts are the same.
"""

import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import Field

from training.engine import loading
from training.engine.config import Positive
from training.engine.errors import RunError
from training.engine.files import replace_lines
from training.engine.progress import Progress, Stop
from training.engine.records import Text, file_rows, text_of
from training.engine.score_heads import score_heads
from training.evaluation.diversity import Drawing, diversity
from training.generation.best_of_n import score_completions
from training.generation.sample import Drawn, Sampling, UnansweredError, draw
from training.process import Wishes, main, read_wishes

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Loaded = tuple["PreTrainedModel", "PreTrainedTokenizerFast"]


class Side(Wishes):
    """A policy under the name that its completions carry; of `best_of` draws it shows the one that the reward model
    likes most."""

    name: str
    model: str
    best_of: Annotated[int, Field(ge=1, le=64)] = 1


class GenerationWishes(Wishes):
    """The whole of `generation.json`. Each side writes `count` completions of each prompt (`id`, `prompt`)."""

    schema_version: Literal[1] = Field(alias="schema")
    sides: list[Side] = Field(min_length=1, max_length=2)
    reward_model: str | None = None
    prompts: str
    count: Annotated[int, Field(ge=1, le=12)] = 1
    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] = 128
    temperature: Annotated[float, Field(ge=0, le=10)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_length: Positive = 2048
    seed: int = 0
    threads: Positive | None = None


class Generation:
    """One generation in its folder."""

    def __init__(self, folder: Path, stop: Stop) -> None:
        self.folder, self.stop = folder, stop
        self.wishes = read_wishes(folder / "generation.json", GenerationWishes)
        if self.wishes.reward_model is None and any(side.best_of > 1 for side in self.wishes.sides):
            raise RunError("The best of several completions is chosen by a reward model; none is named.")
        if self.wishes.threads:
            torch.set_num_threads(self.wishes.threads)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.progress = Progress(folder, self.device)
        self.path = folder / "completions.jsonl"

    def work(self) -> dict[str, Any]:
        """Write the completions of every prompt. Raises RunError or CancelledError."""
        self.progress.enter("loading")
        prompts = [(str(row["id"]), text_of(row, "prompt")) for _, row in file_rows(Path(self.wishes.prompts))]
        done = self._done()
        policies = {side.name: self._load(side.model, "policy") for side in self.wishes.sides}
        reward = self._load(self.wishes.reward_model, "reward") if self.wishes.reward_model else None
        self.progress.total_steps = len(prompts)
        with self.path.open("a", encoding="utf-8") as stream:
            for number, (name, prompt) in enumerate(prompts, 1):
                self.progress.phase, self.progress.step = "generating", number
                if name not in done:
                    line = self._line(name, prompt, policies, reward)
                    stream.write(json.dumps(line, ensure_ascii=False) + "\n")
                    stream.flush()
                self.progress.write()
                self.stop.check()
        return {"report": self._report()}

    def _done(self) -> set[str]:
        """The prompts that have a whole line; a torn last one is cut off."""
        if not self.path.is_file():
            return set()
        kept = [row for _, row in file_rows(self.path) if row is not None]
        replace_lines(self.path, kept)
        return {row["id"] for row in kept}

    def _load(self, folder: str, head: loading.Head) -> Loaded:
        place = Path(folder)
        raw = loading.check_folder(place)
        if head == "reward" and raw.get("reads_pairs"):
            raise RunError("The reward model compares two completions at once; choose one that scores a single one.")
        heads = score_heads(raw) or 1
        packed = loading.can_pack(place, self.wishes.max_length)
        return loading.load_model(place, head, packed=packed, device=self.device, heads=heads), loading.load_tokenizer(
            place
        )

    def _line(self, name: str, prompt: Text, policies: dict[str, Loaded], reward: Loaded | None) -> dict[str, Any]:
        """What was written for a prompt, or why it is left out."""
        try:
            return {"id": name, "sides": self._sides(name, prompt, policies, reward)}
        except UnansweredError as error:
            return {"id": name, "left_out": str(error)}

    def _sides(self, name: str, prompt: Text, policies: dict[str, Loaded], reward: Loaded | None) -> dict[str, Any]:
        sides: dict[str, Any] = {}
        for side in self.wishes.sides:
            settings = Sampling(
                self.wishes.max_new_tokens,
                self.wishes.temperature,
                self.wishes.top_p,
                seed_of(self.wishes.seed, side.name, name),
            )
            drawn = draw(*policies[side.name], prompt, self.wishes.count * side.best_of, settings)
            scores = self._scores(reward, prompt, drawn)
            shown = chosen(drawn, scores, side.best_of)
            sides[side.name] = {"drawn": [asdict(one) for one in drawn], "scores": scores, "shown": shown}
        return sides

    def _scores(self, reward: Loaded | None, prompt: Text, drawn: list[Drawn]) -> list[float] | None:
        if reward is None or self.wishes.reward_model is None:
            return None
        limit = loading.position_limit(Path(self.wishes.reward_model)) or self.wishes.max_length
        longest, texts = min(limit, self.wishes.max_length), [one.text for one in drawn]
        try:
            return score_completions(*reward, [prompt], [texts], max_length=longest)[0]
        except UnansweredError:
            raise
        except ValueError as error:
            raise RunError(f"The reward model cannot score what was written: {error}") from error

    def _report(self) -> dict[str, Any]:
        rows = [row for _, row in file_rows(self.path) if "sides" in row]
        return {side.name: side_report([row["sides"][side.name] for row in rows]) for side in self.wishes.sides}


def seed_of(seed: int, side: str, prompt: str) -> int:
    """A prompt's own seed, whatever was drawn before it."""
    return int.from_bytes(hashlib.sha256(f"{seed}\n{side}\n{prompt}".encode()).digest()[:6], "big")


def chosen(drawn: list[Drawn], scores: list[float] | None, best_of: int) -> list[int]:
    """Of each `best_of` draws the place of the one with the highest score, the first of equals."""
    groups = [range(start, start + best_of) for start in range(0, len(drawn), best_of)]
    if scores is None:
        return [group[0] for group in groups]
    return [max(group, key=lambda place: (scores[place], -place)) for group in groups]


def side_report(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How different one side's completions are, and their mean reward: of all that were drawn, and of those shown."""
    drawings = [
        Drawing(*(tuple(one[field] for one in row["drawn"]) for field in ("text", "tokens", "ended"))) for row in rows
    ]
    scored = [row for row in rows if row["scores"] is not None]
    every = [score for row in scored for score in row["scores"]]
    shown = [row["scores"][place] for row in scored for place in row["shown"]]
    return {
        **diversity(drawings),
        "mean_reward": sum(every) / len(every) if every else None,
        "mean_reward_shown": sum(shown) / len(shown) if shown else None,
    }


if __name__ == "__main__":
    sys.exit(main("training.generate", __doc__.splitlines()[0], lambda place, stop: Generation(place, stop).work()))
