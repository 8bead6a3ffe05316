"""Groups → token ids, with the rule for rows that are too long, and a report of what became of each row."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from training.engine.errors import RunError
from training.engine.files import sha256_json
from training.engine.records import Group, Label, Preference
from training.engine.render import Rendered, Renderer, encode_all, encode_placed, plain_completion, seam_of, seams
from training.engine.segments import Segment, Segmenting, segments_of
from training.engine.token_store import Encoded, TokenStore

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

LongRows = Literal["drop", "error", "truncate-prompt-left"]
_SHOWN_IDS, _SHOWN_ROWS = 100, 3


@dataclass(frozen=True, slots=True)
class TokenGroup:
    """A group as token ids. `prompt + completion` is what the model reads; only the completion is scored.

    `segments` of each completion, where an objective learns from them.
    """

    id: str
    prompt_id: str
    source: str
    prompt: tuple[int, ...]
    completions: tuple[tuple[int, ...], ...]
    preferences: tuple[Preference, ...]
    labels: tuple[Label, ...] = ()
    segments: tuple[tuple[Segment, ...], ...] = ()

    @property
    def shared(self) -> int:
        """Length of the longest common prefix of all sequences, leaving each at least one token of its own."""
        shortest = min(len(completion) for completion in self.completions)
        first, *others = self.completions
        common = 0
        while common < shortest - 1 and all(other[common] == first[common] for other in others):
            common += 1
        return len(self.prompt) + common

    @property
    def packed_tokens(self) -> int:
        """Tokens of the group when the shared prefix is stored once."""
        shared = self.shared
        return shared + sum(len(self.prompt) + len(completion) - shared for completion in self.completions)

    @property
    def longest(self) -> int:
        """Length of the longest sequence."""
        return len(self.prompt) + max(len(completion) for completion in self.completions)


@dataclass(slots=True)
class Report:
    """What became of the rows of one split."""

    rows: int = 0
    kept: int = 0
    truncated: list[str] = field(default_factory=list)
    dropped: dict[str, list[str]] = field(default_factory=dict)
    boundary: list[str] = field(default_factory=list)
    tokens: int = 0
    unpacked_tokens: int = 0
    longest: int = 0
    rendered: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The report for `preflight.json`; id lists stop after 100 entries, counts do not."""
        dropped = [
            {"reason": reason, "count": len(ids), "ids": ids[:_SHOWN_IDS]} for reason, ids in self.dropped.items()
        ]
        return {
            "rows": self.rows,
            "kept": self.kept,
            "truncated": {"count": len(self.truncated), "ids": self.truncated[:_SHOWN_IDS]},
            "dropped": dropped,
            "boundary": {"count": len(self.boundary), "ids": self.boundary[:_SHOWN_IDS]},
            "tokens": self.tokens,
            "tokens_without_sharing": self.unpacked_tokens,
            "longest": self.longest,
            "rendered": self.rendered,
        }


@dataclass(frozen=True, slots=True)
class Lengths:
    """The limits of a run, in tokens, and what happens to a row beyond them."""

    max_length: int
    max_prompt_length: int | None
    long_rows: LongRows


def tokenise(
    groups: Sequence[Group],
    tokenizer: "PreTrainedTokenizerFast",
    lengths: Lengths,
    segmenting: Segmenting | None = None,
    store: TokenStore | None = None,
) -> tuple[list[TokenGroup], Report]:
    """Token ids of the groups that fit, in order, and the report. With `segmenting`, completions have segments. What
    `store` holds is not encoded again.

    Raises RunError where `long_rows` is `error` and a row is too long.
    """
    renderer, report = Renderer(tokenizer), Report(rows=len(groups))
    for group in groups:
        if group.unusable:
            report.dropped.setdefault(group.unusable, []).append(group.id)
    groups = [group for group in groups if not group.unusable]
    encoded = store.load(groups) if store else None
    all_texts = encoded is None or segmenting is not None
    rendered = [renderer.render(group) for group in (groups if all_texts else groups[:_SHOWN_ROWS])]
    report.rendered = _first_rows(groups, rendered)
    if encoded is None:
        encoded = _encode(groups, rendered, tokenizer)
        if store:
            store.save(groups, encoded)
    kept: list[TokenGroup] = []
    for number, (group, tokens) in enumerate(zip(groups, encoded, strict=True)):
        if tokens.moved:
            report.boundary.append(group.id)
        fitted = _fit(_token_group(group, tokens), lengths, tokenizer.bos_token_id, report)
        if fitted is not None and segmenting is not None:
            fitted = _segmented(fitted, group, rendered[number], tokenizer, segmenting, report)
        if fitted is not None:
            kept.append(fitted)
            _count(fitted, report)
    too_long = [row for reason, ids in report.dropped.items() if reason.startswith("longer") for row in ids]
    if lengths.long_rows == "error" and too_long:
        raise RunError(f"{len(too_long)} rows are longer than the limit of this run.", too_long[:_SHOWN_IDS])
    return kept, report


def _token_group(group: Group, tokens: Encoded) -> TokenGroup:
    return TokenGroup(
        id=group.id,
        prompt_id=group.prompt_id,
        source=group.source,
        prompt=tokens.prompt,
        completions=tokens.completions,
        preferences=group.preferences,
        labels=group.labels,
    )


def tokenizer_hash(tokenizer: "PreTrainedTokenizerFast") -> str:
    """Hash of all that decides what a text becomes: vocabulary and merges, template, special tokens."""
    settings = [tokenizer.chat_template, tokenizer.special_tokens_map, adds_bos(tokenizer)]
    return sha256_json([tokenizer.backend_tokenizer.to_str(), settings])


def adds_bos(tokenizer: "PreTrainedTokenizerFast") -> bool:
    """Whether the tokenizer starts plain text with a beginning-of-sequence token."""
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and bool(ids) and ids[0] == tokenizer.bos_token_id


def prompt_ids(tokenizer: "PreTrainedTokenizerFast", text: str, *, template: bool) -> tuple[int, ...]:
    """Token ids of a rendered prompt, with one beginning-of-sequence token at most."""
    return _one_bos(encode_all(tokenizer, [text])[0], tokenizer, add=not template and adds_bos(tokenizer))


def _one_bos(ids: list[int], tokenizer: "PreTrainedTokenizerFast", *, add: bool) -> tuple[int, ...]:
    bos = tokenizer.bos_token_id
    if bos is None:
        return tuple(ids)
    start = 0
    while start < len(ids) and ids[start] == bos:
        start += 1
    return (bos, *ids[start:]) if start or add else tuple(ids)


def _encode(
    groups: Sequence[Group], rendered: Sequence[Rendered], tokenizer: "PreTrainedTokenizerFast"
) -> list[Encoded]:
    """Each group's tokens, and whether a tokenizer or template moved the boundary between prompt and completion.

    The completion is encoded with its prompt, as a reader of the whole text would. Where the prompt is then no token
    prefix of the whole, the two are encoded apart, as generation would see them. What stands before the last seam of
    a prompt is encoded once and not with every completion.
    """
    words = seams(tokenizer)
    cuts = [seam_of(text.prompt, words) for text in rendered]
    heads = encode_all(tokenizer, [text.prompt[:cut] for text, cut in zip(rendered, cuts, strict=True)])
    tails = [text.prompt[cut:] for text, cut in zip(rendered, cuts, strict=True)]
    prompts = encode_all(tokenizer, tails)
    continued = [tail + part for text, tail in zip(rendered, tails, strict=True) for part in text.completions]
    wholes = iter(encode_all(tokenizer, continued))
    add_bos = not tokenizer.chat_template and adds_bos(tokenizer)
    encoded = []
    for text, head, prompt in zip(rendered, heads, prompts, strict=True):
        completions, moved = [], text.boundary_moved
        for part in text.completions:
            whole = next(wholes)
            if whole[: len(prompt)] == prompt:
                completions.append(tuple(whole[len(prompt) :]))
            else:
                moved = True
                completions.append(tuple(encode_all(tokenizer, [part])[0]))
        encoded.append(Encoded(_one_bos(head + prompt, tokenizer, add=add_bos), tuple(completions), moved))
    return encoded


def _fit(group: TokenGroup, lengths: Lengths, bos: int | None, report: Report) -> TokenGroup | None:
    """The group within the limits, or None with the reason in the report. Completions are never cut."""
    reason = _unfit(group, lengths, bos)
    if reason is not None:
        report.dropped.setdefault(reason, []).append(group.id)
        return None
    room = _prompt_room(group, lengths)
    if len(group.prompt) <= room:
        return group
    report.truncated.append(group.id)
    keeps_bos = group.prompt[0] == bos
    head = group.prompt[:keeps_bos]
    return replace(group, prompt=head + group.prompt[len(group.prompt) - room + keeps_bos :])


def _segmented(
    tokens: TokenGroup,
    group: Group,
    text: Rendered,
    tokenizer: "PreTrainedTokenizerFast",
    segmenting: Segmenting,
    report: Report,
) -> TokenGroup | None:
    """The group with the segments of its completions, or None with the reason in the report."""
    found = []
    for number, (completion, part, ids) in enumerate(
        zip(group.completions, text.completions, tokens.completions, strict=True)
    ):
        written = plain_completion(completion)
        at = part.find(written.strip()) - (len(written) - len(written.lstrip()))
        if written.strip() not in part:
            report.dropped.setdefault("its chat template changes the text that spans are marked in", []).append(
                group.id
            )
            return None
        whole, offsets = encode_placed(tokenizer, text.prompt + part)
        before = len(text.prompt)
        if tuple(whole[len(whole) - len(ids) :]) != ids:
            (_, offsets), before = encode_placed(tokenizer, part), 0
        own = [(begin - before - at, end - before - at) for begin, end in offsets[len(offsets) - len(ids) :]]
        marks = group.labels[number].marks if group.labels else None
        found.append(segments_of(written, own, marks, segmenting))
    return replace(tokens, segments=tuple(found))


def _prompt_room(group: TokenGroup, lengths: Lengths) -> int:
    """Tokens that the prompt may have beside the longest completion."""
    completion = max(len(tokens) for tokens in group.completions)
    return min(lengths.max_length - completion, lengths.max_prompt_length or lengths.max_length)


def _unfit(group: TokenGroup, lengths: Lengths, bos: int | None) -> str | None:
    """Why a group cannot be used, if it cannot."""
    if not all(group.completions):
        return "no scored tokens"
    if not group.prompt:
        return "no prompt tokens"
    room = _prompt_room(group, lengths)
    if len(group.prompt) <= room:
        return None
    if room < 1 + (group.prompt[0] == bos):
        return "longer than max_length even without its prompt"
    if lengths.long_rows == "truncate-prompt-left":
        return None
    return f"longer than {'max_length' if group.longest > lengths.max_length else 'max_prompt_length'}"


def _count(group: TokenGroup, report: Report) -> None:
    report.kept += 1
    report.tokens += group.packed_tokens
    report.unpacked_tokens += sum(len(group.prompt) + len(completion) for completion in group.completions)
    report.longest = max(report.longest, group.longest)


def _first_rows(groups: Sequence[Group], rendered: Sequence[Rendered]) -> list[dict[str, Any]]:
    return [
        {"id": group.id, "prompt": text.prompt, "completions": list(text.completions)}
        for group, text in zip(groups[:_SHOWN_ROWS], rendered[:_SHOWN_ROWS], strict=True)
    ]
