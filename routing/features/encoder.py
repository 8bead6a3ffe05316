"""A local folder's sentence encoder: embeddings by its own pooling, and BERTScore. Needs torch.

Import this module in a worker only. Safetensors and JSON alone are read (:mod:`feedback.model_folder`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from feedback.model_folder import ENCODERS, UnsafeFolder, check_folder, read_json
from routing.local_model import load_folder

MOST_TOKENS = 512
TOKENS_PER_BATCH, MOST_ROWS = 8192, 64
PAIRS_AT_ONCE = 64


class SentenceEncoder:
    """The encoder in ``folder``, on a GPU where there is one.

    Raises UnsafeFolder when the folder is refused, or holds no encoder that can be loaded.
    """

    def __init__(self, folder: Path) -> None:
        raw = check_folder(folder, ENCODERS)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model, self._tokenizer = load_folder(folder, self._device, "AutoModel", f"The encoder in {folder.name}")
        positions = raw.get("max_position_embeddings")
        # roberta and its kin count positions from the padding token's id on
        room = int(positions) - 2 if positions else MOST_TOKENS
        self._most = min(MOST_TOKENS, room, _own_limit(folder))
        self._first_alone = _pools_first(folder)
        self.width = int(raw.get("hidden_size") or raw["dim"])

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 [N, width]: the mean of a text's tokens, its markers with them (or the first alone, where the folder
        pools so), of unit length. Texts are read up to 512 tokens, or as far as the encoder does."""
        out = np.zeros((len(texts), self.width), dtype=np.float32)
        for rows, hidden, mask, _ in self._batches(texts):
            out[rows] = self._pooled(hidden, mask)
        return out

    def compare(
        self, pairs: Sequence[tuple[str, str]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Embeddings of the first and of the second texts [N, width], and BERTScore F1 [N], reading each text once.

        BERTScore (Zhang et al. 2020, without idf and rescaling): each token is matched to the most similar one of the
        other text by cosine of last hidden states; markers such as [CLS] are left out. 0 where a text has no other
        token. Symmetric in its two texts.
        """
        first, second = (np.zeros((len(pairs), self.width), dtype=np.float32) for _ in range(2))
        scores = np.zeros(len(pairs), dtype=np.float32)
        for start in range(0, len(pairs), PAIRS_AT_ONCE):
            rows = slice(start, start + PAIRS_AT_ONCE)
            first[rows], second[rows], scores[rows] = self._compared(pairs[rows])
        return first, second, scores

    def _compared(
        self, pairs: Sequence[tuple[str, str]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """The same of so few pairs that all hidden states are kept: 200 MB of 64 pairs, 512 tokens, width 768."""
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        vectors = np.zeros((len(texts), self.width), dtype=np.float32)
        tokens: list[Tensor] = [torch.zeros(0, self.width)] * len(texts)
        for rows, hidden, mask, plain in self._batches(texts):
            vectors[rows] = self._pooled(hidden, mask)
            unit = torch.nn.functional.normalize(hidden, dim=-1)
            for n, row in enumerate(rows):
                tokens[row] = unit[n][plain[n].bool()]
        place = {text: n for n, text in enumerate(texts)}
        first, second = [place[a] for a, _ in pairs], [place[b] for _, b in pairs]
        scores = [_greedy_f1(tokens[a], tokens[b]) for a, b in zip(first, second, strict=True)]
        return vectors[first], vectors[second], np.array(scores, dtype=np.float32)

    def _pooled(self, hidden: Tensor, mask: Tensor) -> NDArray[np.float32]:
        weights = mask.unsqueeze(-1).float()
        mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        pooled = torch.nn.functional.normalize(hidden[:, 0] if self._first_alone else mean, dim=-1)
        return np.asarray(pooled.cpu().numpy(), dtype=np.float32)

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Tensor, Tensor, Tensor]]:
        """(rows, last hidden states [n, T, width], mask [n, T], mask without the markers that the tokenizer adds
        [n, T]) of texts of like lengths."""
        encoded = [self._encoded(text) for text in texts]
        order = sorted((n for n, one in enumerate(encoded) if one[0]), key=lambda n: len(encoded[n][0]))
        start = 0
        while start < len(order):
            widest = len(encoded[order[min(start + MOST_ROWS, len(order)) - 1]][0])
            rows = order[start : start + min(max(TOKENS_PER_BATCH // widest, 1), MOST_ROWS)]
            start += len(rows)
            longest = len(encoded[rows[-1]][0])
            ids = torch.full((len(rows), longest), self._padding, device=self._device)
            mask, plain = torch.zeros_like(ids), torch.zeros_like(ids)
            for n, row in enumerate(rows):
                own, special = encoded[row]
                ids[n, : len(own)] = torch.tensor(own, device=self._device)
                mask[n, : len(own)] = 1
                plain[n, : len(own)] = 1 - torch.tensor(special, device=self._device)
            with torch.inference_mode():
                hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            yield rows, hidden, mask, plain

    def _encoded(self, text: str) -> tuple[list[int], list[int]]:
        one = self._tokenizer(text, truncation=True, max_length=self._most, return_special_tokens_mask=True)
        return list(one["input_ids"]), list(one["special_tokens_mask"])

    @property
    def _padding(self) -> int:
        return int(self._tokenizer.pad_token_id or 0)


def _greedy_f1(a: Tensor, b: Tensor) -> float:
    if not len(a) or not len(b):
        return 0.0
    similar = a @ b.T
    precision, recall = float(similar.max(dim=1).values.mean()), float(similar.max(dim=0).values.mean())
    both = precision + recall
    return max(2.0 * precision * recall / both, 0.0) if both > 0 else 0.0


def _own_limit(folder: Path) -> int:
    """How many tokens the folder says that it reads."""
    path = folder / "sentence_bert_config.json"
    said = read_json(path).get("max_seq_length") if path.is_file() else None
    return said if isinstance(said, int) and said > 2 else MOST_TOKENS


def _pools_first(folder: Path) -> bool:
    """Whether the folder pools by the first token; else by the mean. Raises UnsafeFolder for another way."""
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return False
    ways = [name for name, on in read_json(path).items() if name.startswith("pooling_mode_") and on is True]
    if ways in (["pooling_mode_cls_token"], ["pooling_mode_mean_tokens"]):
        return ways == ["pooling_mode_cls_token"]
    raise UnsafeFolder(f"The encoder in {folder.name} pools by {', '.join(ways) or 'nothing'}; mean and cls are known.")
