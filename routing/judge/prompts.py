"""What a judge is shown. Fixed placeholders, filled in one pass; nothing of a user's text is ever read as a template.

The prompt and all completions stand between fences that carry a nonce drawn for this call, so a completion cannot
close its own fence: it was written before the nonce existed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from routing.judge.asking import Ask, Example, Material, View, view_of
from routing.judge.config import PAIR_SHAPES, JudgeConfig, Order
from routing.judge.schemas import label_of, reply_schema
from routing.judge.wording import DECISION, DECISION_HEAD, SYSTEM, USER, asked_words, example_of_reply

TEMPLATE_VERSION = "3"
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
NONCE_BITS = 96
MOST_EXAMPLE_CHARS = 4000


@dataclass(frozen=True)
class JudgePrompt:
    """Everything sent for one call: chat messages, the JSON schema of the reply, and the nonce of the fences."""

    messages: tuple[Mapping[str, str], ...]
    schema_name: str
    schema: Mapping[str, Any]
    nonce: str

    @property
    def sent_bytes(self) -> int:
        """UTF-8 bytes of all message contents, an upper bound on the tokens of a byte-level tokenizer."""
        return sum(len(message["content"].encode("utf-8", "replace")) for message in self.messages)


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace each `{name}` in one pass; `{{` and `}}` are literal braces. Raises ValueError on an unknown name."""
    unknown = {name for name in PLACEHOLDER.findall(template) if name not in values}
    if unknown:
        raise ValueError(f"Unknown placeholder: {', '.join(sorted(unknown))}.")
    pattern = re.compile(r"\{\{|\}\}|\{([a-z_]+)\}")

    def replace(match: re.Match[str]) -> str:
        return values[match[1]] if match[1] else match[0][0]

    return pattern.sub(replace, template)


def draw_nonce(rng: Random, *texts: str) -> str:
    """24 hexadecimal digits that occur in none of the texts."""
    while True:
        nonce = f"{rng.getrandbits(NONCE_BITS):0{NONCE_BITS // 4}x}"
        if not any(nonce in text for text in texts):
            return nonce


def render_messages(prompt: str | Sequence[Mapping[str, str]]) -> str:
    """A prompt as text: as it is, or one `role: content` paragraph per chat message. Raises ValueError if empty."""
    if isinstance(prompt, str):
        return prompt
    if not prompt:
        raise ValueError("The prompt has no messages.")
    if len(prompt) == 1 and prompt[0]["role"] == "user":
        return prompt[0]["content"]
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in prompt)


def fence(label: str, text: str, nonce: str) -> str:
    """The text between an opening and a closing marker that both carry the nonce."""
    return f"<<<{label} {nonce}>>>\n{text}\n<<<END OF {label} {nonce}>>>"


def build_prompt(
    config: JudgeConfig, ask: Ask, material: Material, order: Order, nonce_rng: Random, part: int | None = None
) -> JudgePrompt:
    """The call about an instance: its completions as stored in order `ab`, reversed in `ba`, or one of them alone."""
    text, view = render_messages(material.prompt), view_of(material, order, part)
    principles = principles_for(config, material)
    shown = [text for e in material.examples for text in (e.prompt, e.a, e.b, e.reason)]
    texts = (text, *view.texts, material.reference, config.rubric, config.persona, *principles, *shown)
    nonce = draw_nonce(nonce_rng, *texts)
    values = {
        "persona": config.persona,
        "rubric": config.rubric,
        "aspects": _aspects(config),
        "nonce": nonce,
        "examples": _examples(material.examples, order, nonce),
        "prompt": fence("PROMPT", text, nonce),
        "reference": fence("REFERENCE ANSWER", material.reference, nonce) if config.shape == "reference" else "",
        "completions": "\n\n".join(_completions(config, view, nonce)),
        "ties": "If they are equally good, say tie." if config.allow_ties else "You must choose one.",
        "principles": "\n".join(f"{number}. {words}" for number, words in enumerate(principles, 1)),
        "asked": asked_words(config, ask),
        "reply": example_of_reply(config, ask, len(view.texts), len(principles)),
    }
    user = re.sub(r"\n{3,}", "\n\n", USER[config.shape]).strip()
    messages = (
        {"role": "system", "content": fill(SYSTEM, values).strip()},
        {"role": "user", "content": fill(user, values).strip()},
    )
    schema = reply_schema(config, ask, len(view.texts), len(principles))
    return JudgePrompt(messages, f"{config.shape.replace('-', '_')}_verdict", schema, nonce)


def principles_for(config: JudgeConfig, material: Material) -> tuple[str, ...]:
    """The principles that count for this instance: some of the judge's, drawn by its seed and the instance."""
    if config.shape != "principles":
        return ()
    digest = hashlib.sha256(f"principles:{config.seed}:{material.content()}".encode()).digest()
    count = min(config.principles_drawn, len(config.principles))
    chosen = Random(int.from_bytes(digest[:8], "big")).sample(range(len(config.principles)), count)
    return tuple(config.principles[number] for number in sorted(chosen))


def _aspects(config: JudgeConfig) -> str:
    if not config.aspects or config.shape not in PAIR_SHAPES | {"rating", "ranking"}:
        return ""
    return f"Look at these aspects one by one: {', '.join(config.aspects)}."


def _completions(config: JudgeConfig, view: View, nonce: str) -> list[str]:
    if config.shape in PAIR_SHAPES:
        labels = ["FIRST COMPLETION", "SECOND COMPLETION"]
    else:
        labels = [label_of(number).upper().replace("_", " ") for number in range(len(view.texts))]
    return [fence(label, text, nonce) for label, text in zip(labels, view.texts, strict=True)]


def _examples(examples: Sequence[Example], order: Order, nonce: str) -> str:
    """Reviewers' decisions, their completions in the order of the call, so that no place is taught."""
    words = [DECISION_HEAD] if examples else []
    for number, example in enumerate(examples, 1):
        first, second = (example.a, example.b) if order == "ab" else (example.b, example.a)
        ahead = {"a": order == "ab", "b": order == "ba"}.get(example.verdict)
        verdict = "tie" if ahead is None else "first" if ahead else "second"
        words += [
            fence(f"EXAMPLE {number} {part}", text[:MOST_EXAMPLE_CHARS], nonce)
            for part, text in (("PROMPT", example.prompt), ("FIRST COMPLETION", first), ("SECOND COMPLETION", second))
        ]
        words.append(DECISION.format(number=number, verdict=verdict))
        if example.reason:
            words.append(fence(f"EXAMPLE {number} REASON", example.reason[:MOST_EXAMPLE_CHARS], nonce))
    return "\n\n".join(words)
