"""A local folder's language model as a judge: it writes replies, or scores what people would say next. Needs torch.

Import this module in a worker only. One call at a time: threads wait for each other at the model.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from torch import Tensor

from feedback.model_folder import UnsafeFolder, check_folder
from routing.judge.backends import JudgeCallError, JudgeRequest, Reply, Usage
from routing.judge.outcome import TokenLogprob
from routing.judge.schemas import label_of
from routing.local_model import load_folder

Message = dict[str, str]


class LocalBackend:
    """Greedy or sampled replies of the model in ``folder``, on a GPU where there is one. Safe to share between threads.

    Raises UnsafeFolder when the folder is refused, or holds no language model that can be loaded.
    """

    def __init__(self, folder: Path) -> None:
        raw = check_folder(folder)
        if any("SequenceClassification" in str(name) for name in raw.get("architectures") or []):
            raise UnsafeFolder("This model gives scores and writes no text; choose a language model.")
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model, self._tokenizer = load_folder(
            folder, self._device, "AutoModelForCausalLM", f"The model in {folder}"
        )
        positions = raw.get("max_position_embeddings") or raw.get("n_positions")
        self._positions = int(positions) if positions else None
        self._lock = threading.Lock()

    def complete(self, request: JudgeRequest) -> Reply:
        """One reply, with the log-probabilities of its tokens where asked for. Raises JudgeCallError."""
        with self._lock, torch.inference_mode():
            return self._score(request) if request.config.shape == "follow-up" else self._write(request)

    def _write(self, request: JudgeRequest) -> Reply:
        config = request.config
        text = self._rendered([dict(message) for message in request.prompt.messages], prompted=True)
        ids = self._ids(text, config.max_tokens)
        seed = f"{config.seed}:{request.instance_key}:{request.order}:{request.sample}"
        torch.manual_seed(sum((place + 1) * byte for place, byte in enumerate(seed.encode())) % 2**31)
        started = time.monotonic()
        out: Any = self._model.generate(  # type: ignore[operator]
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=config.max_tokens,
            max_time=config.deadline,
            pad_token_id=self._tokenizer.eos_token_id,
            do_sample=config.temperature > 0,
            output_logits=bool(config.top_logprobs),
            return_dict_in_generate=True,
            **({"temperature": config.temperature, "top_k": 0, "top_p": 1.0} if config.temperature > 0 else {}),
        )
        if time.monotonic() - started >= config.deadline:
            raise JudgeCallError("timeout", "No complete reply before the deadline.", transient=True, billed=False)
        new = out.sequences[0, ids.shape[1] :].tolist()
        ended = bool(new) and new[-1] == self._tokenizer.eos_token_id
        written = new[:-1] if ended else new
        return Reply(
            self._text(written),
            Usage(ids.shape[1], len(new)),
            self._logprobs(written, out.logits, config.top_logprobs) if config.top_logprobs else (),
            truncated=not ended,
        )

    def _text(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def _logprobs(self, written: Sequence[int], logits: Sequence[Tensor], top: int) -> tuple[TokenLogprob, ...]:
        """What each written token adds to the text, and the likeliest tokens at its place."""
        found, before = [], ""
        for place in range(len(written)):
            text = self._text(written[: place + 1])
            best = torch.log_softmax(logits[place][0].float(), dim=-1).topk(min(top, logits[place].shape[-1]))
            tops: dict[str, float] = {}
            for token, value in zip(best.indices.tolist(), best.values.tolist(), strict=True):
                tops.setdefault(self._text([token]), float(value))
            found.append(TokenLogprob(text[len(before) :], tops))
            before = text
        return tuple(found)

    def _score(self, request: JudgeRequest) -> Reply:
        """Mean log-likelihood per token of the positive follow-ups minus that of the negative ones, by completion."""
        config, prompt = request.config, request.material.prompt
        asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(one) for one in prompt]
        scores, read = {}, 0
        started = time.monotonic()
        for number, text in enumerate(request.view.texts):
            said = [*asked, {"role": "assistant", "content": text}]
            means = []
            for followups in (config.positive_followups, config.negative_followups):
                likelihoods = [self._likelihood(said, followup) for followup in followups]
                means.append(sum(value for value, _ in likelihoods) / len(likelihoods))
                read += sum(tokens for _, tokens in likelihoods)
            scores[label_of(number)] = means[0] - means[1]
            if time.monotonic() - started >= config.deadline:
                raise JudgeCallError("timeout", "No complete reply before the deadline.", transient=True, billed=False)
        return Reply(json.dumps(scores), Usage(min(read, request.prompt.sent_bytes), 0))

    def _likelihood(self, said: list[Message], followup: str) -> tuple[float, int]:
        """(mean log-probability of a follow-up's tokens after a conversation, tokens read)."""
        text = self._rendered([*said, {"role": "user", "content": followup}], prompted=False)
        start = text.rfind(followup)
        encoded = self._tokenizer(text, return_offsets_mapping=True, add_special_tokens=not self._templated)
        ids = torch.tensor([encoded["input_ids"]], device=self._device)
        self._check_length(ids.shape[1])
        inside = [n for n, (low, high) in enumerate(encoded["offset_mapping"]) if low < high and high > start]
        inside = [n for n in inside if n and encoded["offset_mapping"][n][0] < start + len(followup)]
        if start < 0 or not inside:
            detail = "The model's chat template does not keep the follow-up as it is written."
            raise JudgeCallError("bad_reply", detail, transient=False, billed=False)
        logps = torch.log_softmax(self._model(ids).logits[0].float(), dim=-1)
        picked = [float(logps[n - 1, ids[0, n]]) for n in inside]
        return sum(picked) / len(picked), int(ids.shape[1])

    @property
    def _templated(self) -> bool:
        return bool(self._tokenizer.chat_template)

    def _rendered(self, messages: list[Message], *, prompted: bool) -> str:
        """A conversation as text: by the model's template (a system message it refuses goes before the first turn).
        Raises JudgeCallError for a conversation that the template refuses, such as two turns of one side."""
        if not self._templated:
            return "\n\n".join(message["content"] for message in messages) + ("\n\n" if prompted else "")
        try:
            return self._template(messages, prompted)
        except TemplateError as error:
            refused = error
        if messages[0]["role"] == "system":
            first = {**messages[1], "content": f"{messages[0]['content']}\n\n{messages[1]['content']}"}
            try:
                return self._template([first, *messages[2:]], prompted)
            except TemplateError as error:
                refused = error
        detail = f"The model's chat template refuses this conversation: {refused}"
        raise JudgeCallError("bad_reply", detail, transient=False, billed=False) from refused

    def _template(self, messages: list[Message], prompted: bool) -> str:
        rendered = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompted)
        return str(rendered)

    def _ids(self, text: str, room: int) -> Tensor:
        ids = self._tokenizer(text, add_special_tokens=not self._templated)["input_ids"]
        self._check_length(len(ids) + room)
        return torch.tensor([ids], device=self._device)

    def _check_length(self, tokens: int) -> None:
        if self._positions and tokens > self._positions:
            detail = f"Prompt and reply take {tokens} tokens; the model reads {self._positions}."
            raise JudgeCallError("too_long", detail, transient=False, billed=False)
