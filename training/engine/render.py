"""Prompt and completions → text, with the tokenizer's chat template where it has one."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.engine.errors import RunError
from training.engine.records import Group, Message, Text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# How a role is written where the tokenizer has no template.
_TURN = "{role}: {content}\n\n"


@dataclass(frozen=True, slots=True)
class Rendered:
    """Text of one group: each completion's text is `prompt + completion`, and ends as a finished turn."""

    prompt: str
    completions: tuple[str, ...]
    boundary_moved: bool  # the template writes a turn differently once it is answered


class Renderer:
    """Turns groups into text, always in the same way for one tokenizer."""

    def __init__(self, tokenizer: "PreTrainedTokenizerFast") -> None:
        self.tokenizer = tokenizer
        self.has_template = bool(tokenizer.chat_template)

    def render(self, group: Group) -> Rendered:
        """Text of a group. Raises RunError naming the row where the template refuses its messages."""
        if not self.has_template:
            prompt, ending = plain_prompt(group.prompt), self.tokenizer.eos_token or ""
            texts = tuple(f"{plain_completion(completion)}{ending}" for completion in group.completions)
            return Rendered(prompt, texts, boundary_moved=False)
        from jinja2 import TemplateError

        try:
            return self._by_template(group)
        except TemplateError as error:
            raise RunError(f"The chat template refuses row {group.id}: {error}.", [group.id]) from error

    def prompt_text(self, prompt: Text) -> str:
        """The text after which a completion starts."""
        if not self.has_template:
            return plain_prompt(prompt)
        return self._template(as_messages(prompt, "user"), answer_next=True)

    def _by_template(self, group: Group) -> Rendered:
        messages = as_messages(group.prompt, "user")
        asked = self._template(messages, answer_next=True)
        answered = [
            self._finished(self._template(messages + as_messages(completion, "assistant"), answer_next=False))
            for completion in group.completions
        ]
        if all(text.startswith(asked) for text in answered):
            shared = asked
        else:
            shared = os.path.commonprefix([asked, *answered])  # noqa: RUF071 - these are texts, by character is meant
        return Rendered(shared, tuple(text[len(shared) :] for text in answered), boundary_moved=shared != asked)

    def _template(self, messages: list[Message], *, answer_next: bool) -> str:
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer_next)
        return str(text)

    def _finished(self, text: str) -> str:
        """A template that does not close the last turn would train a policy that never stops."""
        ending = self.tokenizer.eos_token or ""
        closes = any(text.rstrip().endswith(str(token)) for token in self.tokenizer.all_special_tokens)
        return text if closes else text + ending


def as_messages(text: Text, role: str) -> list[Message]:
    """Chat messages of a prompt or completion; plain text is one message of `role`."""
    return [{"role": role, "content": text}] if isinstance(text, str) else list(text)


def plain_prompt(prompt: Text) -> str:
    """A prompt without a template: messages as `role: content` paragraphs; text as it is, on its own line."""
    if isinstance(prompt, str):
        return prompt if not prompt or prompt[-1].isspace() else f"{prompt}\n"
    turns = [_TURN.format(role=message["role"].capitalize(), content=message["content"]) for message in prompt]
    return "".join(turns) + "Assistant: "


def plain_completion(completion: Text) -> str:
    """A completion without a template: its text, or its messages' text joined by blank lines."""
    return completion if isinstance(completion, str) else "\n\n".join(m["content"] for m in completion)


def encode_placed(tokenizer: "PreTrainedTokenizerFast", text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Token ids of a text, without added special tokens, and the code points that each stands for."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return list(encoded["input_ids"]), [(int(start), int(end)) for start, end in encoded["offset_mapping"]]


def encode_all(tokenizer: "PreTrainedTokenizerFast", texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, without added special tokens."""
    if not texts:
        return []
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    encoded = tokenizer.backend_tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [one.ids for one in encoded]


def seams(tokenizer: "PreTrainedTokenizerFast") -> tuple[str, ...]:
    """Tokens before which a text can be cut, so that its parts encoded apart are the whole encoded at once.

    These are added tokens that are found as they are written, in front of anything else: they take no blanks before
    them, ask for no word boundary and share no letters with another added token.
    """
    if getattr(tokenizer, "split_special_tokens", False):
        return ()
    added = list(tokenizer.added_tokens_decoder.values())
    return tuple(
        one.content
        for one in added
        if not (one.lstrip or one.single_word or one.normalized)
        and not any(_overlap(one.content, other.content) for other in added if other.content != one.content)
        and not _overlap(one.content, one.content, itself=True)
    )


def _overlap(one: str, other: str, *, itself: bool = False) -> bool:
    """Whether two words can share letters of a text."""
    if not itself and (one in other or other in one):
        return True
    shorter = min(len(one), len(other))
    return any(one[-n:] == other[:n] or other[-n:] == one[:n] for n in range(1, shorter + (not itself)))


def seam_of(text: str, words: Sequence[str]) -> int:
    """Where the last seam of a text is; 0 where it has none."""
    return max([0, *(text.rfind(word) for word in words)])
