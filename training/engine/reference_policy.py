"""What the reference policy says of a run's rows: of whole completions, or token by token."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from training.engine import loading
from training.engine.batches import mismatched
from training.engine.contrast import BAD, GOOD, asked_for, rewards_of_tokens
from training.engine.errors import RunError
from training.engine.learner import Learner, Split
from training.engine.reference import ReferenceCache, Values, compute_values, group_keys, load_values, store_values
from training.engine.setup import SPLITS, Setup, Tokens, choose_path
from training.engine.tokens import TokenGroup
from training.engine.tuning import without_adapters

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


class ReferencePolicy:
    """The reference policy of one run; `forwards` counts the completions that it was asked about."""

    def __init__(self, setup: Setup, learner: Learner) -> None:
        self.setup, self.learner = setup, learner
        self.forwards = 0

    def splits(self, tokens: Tokens) -> dict[str, Split]:
        """The splits with reference log-probabilities, where the objective reads them."""
        if "ref_logps" not in self.learner.objective.needs:
            return {split: Split(tokens[split]) for split in SPLITS}
        others: Tokens = {split: [] for split in SPLITS}
        if "divergence" in self.learner.objective.needs:
            longest = max(group.longest for groups in tokens.values() for group in groups)
            others = {split: mismatched(tokens[split], tokens["train"], longest) for split in SPLITS}
        everything = [group for split in SPLITS for group in (*tokens[split], *others[split])]
        keys = group_keys(everything, self.setup.reference_hash, self.setup.config.precision)
        values = self._values(everything, keys)
        references = iter([tuple(values[key] for key in group) for group in keys])

        def with_references(groups: list[TokenGroup]) -> Split:
            return Split(groups, [next(references) for _ in groups])

        splits = {split: (with_references(tokens[split]), with_references(others[split])) for split in SPLITS}
        return {split: replace(own, mismatched=other if len(other) else None) for split, (own, other) in splits.items()}

    def _values(self, groups: list[TokenGroup], keys: list[tuple[bytes, ...]]) -> Values:
        """This run's own values are pinned in its folder, so that a resumed run sees the very same numbers."""
        pinned, team = self.setup.run_dir / "reference.safetensors", self.setup.team
        wanted = {key for group in keys for key in group}
        values = team.first(load_values(pinned))
        if wanted <= values.keys():
            return values
        cache_folder = Path(self.setup.config.reference_cache or self.setup.run_dir / "reference")
        cache = ReferenceCache(cache_folder, self.setup.reference_hash)
        values = team.first({**cache.load(), **values} if team.leads else values)
        missing = [number for number, group in enumerate(keys) if any(key not in values for key in group)]
        if missing:
            self.forwards = sum(len(groups[number].completions) for number in missing)
            mine = team.share(missing, [group.packed_tokens for group in groups])
            parts = team.outcomes(lambda: self._computed([groups[n] for n in mine], [keys[n] for n in mine]))
            values |= {key: value for part in parts for key, value in part.items()}
        values = {key: values[key] for key in sorted(wanted)}
        if team.leads:
            cache.add({key: values[key] for number in missing for key in keys[number]})
            store_values(pinned, values)
        return values

    def _computed(self, groups: list[TokenGroup], keys: list[tuple[bytes, ...]]) -> Values:
        model = self._model()
        if model.config.vocab_size != self.learner.model.config.vocab_size:
            raise RunError("The reference model has another vocabulary than the base model.")

        with without_adapters(self.setup.adapted):
            return compute_values(
                model,
                groups,
                keys,
                path=self.learner.path,
                budget=self.setup.config.tokens_per_batch,
                precision=self.setup.config.precision,
                after_batch=self.setup.counted("", len(groups)),
            )

    def _model(self) -> "PreTrainedModel":
        self.setup.progress.enter("reference")
        if self.setup.reference == self.setup.base:
            return self.learner.model
        return self.setup.load(self.setup.reference, self.learner.objective, self.learner.path)

    def token_rewards(self, tokenizer: "PreTrainedTokenizerFast", splits: dict[str, Split]) -> dict[str, Split]:
        """The splits with a reward of each token by the reference policy, where the objective reads them."""
        if "tokens" not in self.learner.objective.needs:
            return splits
        model = self._model()
        setup, rewarded = self.setup, {}
        for name, split in splits.items():
            longest = loading.position_limit(setup.base) or 2 * setup.config.max_length
            good, bad = (asked_for(line, split.groups, setup.prompts, tokenizer, longest) for line in (GOOD, BAD))
            with without_adapters(setup.adapted):
                rewards = rewards_of_tokens(
                    model,
                    good,
                    bad,
                    path=choose_path(setup.config, setup.device, packable=loading.can_pack(setup.base, longest)),
                    budget=setup.config.tokens_per_batch,
                    precision=setup.config.precision,
                    after_batch=setup.counted("rewards of the tokens of", 2 * len(split)),
                )
            rewarded[name] = replace(split, token_rewards=rewards)
        return rewarded
