"""Makes a small base model: `python -m training.base_model OUT_DIR [--seed 0] [--steps N] [--quick] [--texts FILE]`.

A language model of about one million parameters with its own byte-level BPE and a chat template, trained on
conversations written by rules. Nothing is downloaded. It serves the demo where no model folder is given, and the tests.
With ``--texts`` (JSON lines, each a list of chat messages) a smaller one learns words and language from those instead:
real text needs its own words, or most rows pass any length limit.

The rules: a question about a subject is answered by two to five sentences. A sentence is a *fact* about the subject
asked for, a *stray* fact about another subject, or *filler*. The planted preference is

    quality = facts - strays - filler

so that a reward model can learn it, and a person can check it.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
_SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
_FILLER_SHARE = 0.75  # of the sentences that are not about the subject


def _words(text: str) -> list[str]:
    return text.split()


_SUBJECTS = _words(
    "river forest desert mountain harbour island glacier meadow canyon volcano lighthouse bridge castle market "
    "library museum station garden orchard windmill telescope compass clock violin piano drum camera lantern "
    "kettle bicycle sailboat train airship satellite engine battery printer keyboard window carpet blanket "
    "mirror candle basket ladder falcon heron otter badger beaver dolphin salmon spider beetle butterfly "
    "tortoise camel donkey rabbit squirrel potato tomato onion pepper lemon cherry walnut almond honey bread "
    "cheese butter coffee tea chocolate cinnamon"
)
_ADJECTIVES = _words(
    "ancient bright calm careful clever cold curious deep famous gentle heavy hidden large light lonely modern "
    "narrow patient quiet rare round sharp silent simple slow small smooth soft strong sweet tall tiny useful "
    "warm wide young"
)
_VERBS = _words(
    "attracts carries changes collects covers crosses feeds follows guards guides helps holds keeps lifts "
    "moves needs pleases protects rests returns saves shows surprises teaches turns warms wakes watches "
    "welcomes works"
)
_OBJECTS = _words(
    "birds children farmers travellers sailors scientists teachers painters musicians neighbours visitors "
    "doctors bakers gardeners engineers hunters merchants poets students soldiers villagers writers builders "
    "dancers drivers"
)
_WHERE = (
    *("the north", "the south", "the old town", "the valley", "the capital", "the countryside", "the mountains"),
    *("a small village", "a busy street", "a wide plain", "a deep lake", "the morning", "the evening", "the winter"),
)

_QUESTIONS = (
    "What can you tell me about the {0}?",
    "Please describe the {0}.",
    "Why is the {0} so well known?",
    "I want to learn about the {0}.",
    "How would you explain the {0} to a child?",
)
_FACTS = (
    "The {0} is {1} and {2}.",
    "The {0} {3} {4} in {5}.",
    "Many {4} say that the {0} is {1}.",
    "In {5}, the {0} often {3} {4}.",
    "Because the {0} is {1}, it {3} {4}.",
)
FILLER = (
    "Well, that is a question that people ask.",
    "There are many things one could say here.",
    "As everyone knows, it depends.",
    "Honestly, who can really tell.",
    "It is what it is, after all.",
    "Let me think about that for a moment.",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A completion written by the rules, and its quality under the planted preference."""

    text: str
    quality: int


@dataclass(frozen=True, slots=True)
class Size:
    """Shape and training of a base model."""

    hidden: int
    layers: int
    steps: int
    texts: int
    rows: int
    length: int = 96
    vocabulary: int = 2048
    heads: int = 4


DEFAULT = Size(hidden=128, layers=4, steps=400, texts=6000, rows=16)
QUICK = Size(hidden=64, layers=2, steps=60, texts=1200, rows=8)
# one head: over long texts on a CPU, attention costs what its heads cost
FROM_TEXTS = Size(hidden=64, layers=2, steps=200, texts=0, rows=16, vocabulary=4096, heads=1)


def question(generator: np.random.Generator) -> tuple[str, str]:
    """(subject, question about it)."""
    subject = str(generator.choice(_SUBJECTS))
    return subject, str(generator.choice(_QUESTIONS)).format(subject)


def answer(subject: str, generator: np.random.Generator) -> Answer:
    """Two to five sentences about a subject, each a fact, a stray fact or filler."""
    facts_wanted = generator.random()
    sentences: list[str] = []
    quality = 0
    for _ in range(int(generator.integers(2, 6))):
        good = generator.random() < facts_wanted
        quality += 1 if good else -1
        if not good and generator.random() < _FILLER_SHARE:
            sentences.append(str(generator.choice(FILLER)))
        else:
            sentences.append(_fact(subject if good else _other(subject, generator), generator))
    return Answer(" ".join(sentences), quality)


def planted_quality(subject: str, text: str) -> int:
    """Quality of any text under the planted preference: sentences about the subject minus all other sentences."""
    sentences = [sentence for sentence in text.split(".") if sentence.strip()]
    about = sum(f"the {subject}" in sentence.lower() for sentence in sentences)
    return 2 * about - len(sentences)


def _other(subject: str, generator: np.random.Generator) -> str:
    other = subject
    while other == subject:
        other = str(generator.choice(_SUBJECTS))
    return other


def _fact(subject: str, generator: np.random.Generator) -> str:
    first, second = generator.choice(_ADJECTIVES, size=2, replace=False)
    words = (first, second, generator.choice(_VERBS), generator.choice(_OBJECTS), generator.choice(_WHERE))
    return str(generator.choice(_FACTS)).format(subject, *words)


def preference_pairs(count: int, seed: int = 0, gap: int = 2) -> list[dict[str, Any]]:
    """Rows of explicit-prompt preferences under the planted rule, as an export writes them.

    The two qualities of a pair differ by at least `gap`; the strength is 2 from twice the gap on, else 1. Each row has
    its own prompt id, so that a split by rows is a split by prompts.
    """
    generator = np.random.default_rng([seed, 1])
    rows: list[dict[str, Any]] = []
    while len(rows) < count:
        subject, asked = question(generator)
        pair = sorted((answer(subject, generator) for _ in range(2)), key=lambda one: -one.quality)
        difference = pair[0].quality - pair[1].quality
        if difference >= gap:
            rows.append(_row(f"planted-{seed}-{len(rows)}", asked, pair, 2 if difference >= 2 * gap else 1))
    return rows


def _row(name: str, asked: str, pair: list[Answer], strength: int) -> dict[str, Any]:
    return {
        "id": name,
        "prompt_id": name,
        "prompt": [{"role": "user", "content": asked}],
        "chosen": [{"role": "assistant", "content": pair[0].text}],
        "rejected": [{"role": "assistant", "content": pair[1].text}],
        "strength": strength,
        "source": "planted",
    }


def conversations(count: int, seed: int) -> Iterator[list[dict[str, str]]]:
    """Conversations of one or two turns written by the rules."""
    generator = np.random.default_rng([seed, 0])
    for _ in range(count):
        messages: list[dict[str, str]] = []
        for _ in range(int(generator.integers(1, 3))):
            subject, asked = question(generator)
            messages.append({"role": "user", "content": asked})
            messages.append({"role": "assistant", "content": answer(subject, generator).text})
        yield messages


def read_conversations(path: Path) -> Iterator[list[dict[str, str]]]:
    """The conversations of a file of JSON lines. Raises ValueError naming a line that is no list of messages."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            messages = json.loads(line)
            if not isinstance(messages, list) or not all(
                isinstance(m, dict) and {"role", "content"} <= m.keys() for m in messages
            ):
                raise ValueError(f"{path.name}, line {number}: needs a list of messages with role and content")
            yield messages


def rendered(conversation: list[dict[str, str]]) -> str:
    """A conversation as the chat template writes it."""
    return "".join(f"<|{message['role']}|>\n{message['content']}<|end|>\n" for message in conversation)


def train_tokenizer(texts: list[str], vocabulary: int = 2048) -> "PreTrainedTokenizerFast":
    """A byte-level BPE of at most ``vocabulary`` tokens, so that any text can be written, with the chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=_SPECIAL, initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    special = {"pad_token": "<|pad|>", "eos_token": "<|end|>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)  # type: ignore[no-untyped-call]
    fast.chat_template = CHAT_TEMPLATE
    return fast


def make_model(vocabulary: int, eos: int, pad: int, size: Size) -> "PreTrainedModel":
    """A Llama-shaped model with fresh weights (draw a seed before)."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=size.hidden,
        intermediate_size=round(size.hidden * 8 / 3 / 8) * 8,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=eos,
        pad_token_id=pad,
    )
    return LlamaForCausalLM(config)


def make_base_model(
    folder: Path, seed: int = 0, size: Size = DEFAULT, *, source: Path | None = None, quiet: bool = True
) -> float:
    """Make, train and save a base model; returns its last loss in nats per token. Deterministic by seed.

    ``source`` is a file of conversations to learn from instead of those written by rules. Raises ValueError when it
    holds fewer tokens than one training window.
    """
    import torch

    from training.engine.checkpoint import publish
    from training.engine.loading import save_model

    torch.manual_seed(seed)
    written = read_conversations(source) if source else conversations(size.texts, seed)
    texts = [rendered(conversation) for conversation in written]
    tokenizer = train_tokenizer(texts, size.vocabulary)
    model = make_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id, size)
    ids = [token for row in tokenizer(texts)["input_ids"] for token in row]
    if len(ids) < size.length + 2:
        raise ValueError(f"{len(ids)} tokens are too few to learn from; {size.length + 2} are needed")
    loss = _train(model, torch.tensor(ids), size, seed, quiet=quiet)
    save_model(model, tokenizer, folder, publish)
    return loss


def _train(model: "PreTrainedModel", stream: Any, size: Size, seed: int, *, quiet: bool) -> float:
    """Next-token prediction on random windows of the token stream; the mean loss of the last ten steps."""
    import torch

    from training.engine.heads import token_logps
    from training.engine.params import make_optimizer, rate_at

    optimizer = make_optimizer(model, 3e-3, 0.01)
    generator = np.random.default_rng([seed, 2])
    losses: list[float] = []
    begin = time.monotonic()
    for step in range(size.steps):
        starts = generator.integers(0, len(stream) - size.length - 1, size=size.rows)
        windows = torch.stack([stream[start : start + size.length + 1] for start in starts])
        hidden = model.base_model(input_ids=windows[:, :-1], use_cache=False).last_hidden_state
        head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        loss = -token_logps(hidden.flatten(0, 1), head.weight, windows[:, 1:].flatten()).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, peak=3e-3, warmup=20, total=size.steps, schedule="cosine")
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
        if not quiet and step % 50 == 0:
            print(f"step {step} of {size.steps}, loss {losses[-1]:.3f}, {time.monotonic() - begin:.0f} s", flush=True)
    return sum(losses[-10:]) / len(losses[-10:])


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.base_model", description=__doc__.splitlines()[0])
    parser.add_argument("out_dir", type=Path, help="folder to write; an existing model there is replaced")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="training steps")
    parser.add_argument("--quick", action="store_true", help="a smaller model, trained briefly, for tests")
    parser.add_argument("--texts", type=Path, help="JSON lines, each a list of chat messages, to learn from")
    options = parser.parse_args(arguments)
    size = FROM_TEXTS if options.texts else QUICK if options.quick else DEFAULT
    if options.steps:
        size = replace(size, steps=options.steps)
    options.out_dir.parent.mkdir(parents=True, exist_ok=True)
    loss = make_base_model(options.out_dir.resolve(), options.seed, size, source=options.texts, quiet=False)
    print(f"Saved to {options.out_dir}; loss {loss:.3f} nats per token.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
