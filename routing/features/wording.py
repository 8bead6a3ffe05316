"""What a tag is called in front of people: `rouge_l=low` is "little shared wording"."""

from __future__ import annotations

from collections.abc import Mapping

LEVELS: Mapping[str, Mapping[str, str]] = {
    "prompt_length": {"low": "short prompt", "middle": "medium prompt", "high": "long prompt"},
    "shorter_length": {
        "low": "shorter completion is short",
        "middle": "shorter completion is medium",
        "high": "both completions are long",
    },
    "longer_length": {
        "low": "both completions are short",
        "middle": "longer completion is medium",
        "high": "longer completion is long",
    },
    "length_gap": {"low": "similar lengths", "middle": "somewhat different lengths", "high": "very different lengths"},
    "rouge_l": {"low": "little shared wording", "middle": "some shared wording", "high": "much shared wording"},
    "entity_overlap": {
        "low": "few shared names and numbers",
        "middle": "some shared names and numbers",
        "high": "mostly the same names and numbers",
    },
    "cosine_similarity": {
        "low": "unlike completions",
        "middle": "somewhat alike completions",
        "high": "alike completions",
    },
    "length_adjusted_cosine": {
        "low": "unlike in words or length",
        "middle": "somewhat alike in words and length",
        "high": "alike in words and length",
    },
    "bert_score": {
        "low": "completions that mean different things",
        "middle": "completions that mean somewhat the same",
        "high": "completions that mean much the same",
    },
    "length_adjusted_bert_score": {
        "low": "unlike in meaning or length",
        "middle": "somewhat alike in meaning and length",
        "high": "alike in meaning and length",
    },
    "length_adjusted_rouge_l": {
        "low": "little shared wording for their lengths",
        "middle": "some shared wording for their lengths",
        "high": "much shared wording for their lengths",
    },
}
FLAGS: Mapping[str, str] = {
    "code": "code in the prompt",
    "mathematics_notation": "formulas in the prompt",
    "format_constraint": "asks for a format",
    "in_context_material": "brings a text to work on",
    "role_play": "role play",
    "reasoning": "asks for reasons",
    "open_ended": "asks to write or invent",
    "sensitive": "sensitive words",
    "multi_turn": "several turns",
    "english": "in English",
    "other_language": "not in English",
    "completion_code": "code in a completion",
    "one_refuses": "one completion refuses",
    "both_refuse": "both completions refuse",
    "several_requests": "several requests at once",
    "subject_none": "no known subject",
}
SUBJECT = "subject_"


def words_of(tag: str) -> str:
    """A tag in words; one that is not ours (a column that a team added) as it is, underscores as spaces."""
    name, _, level = tag.partition("=")
    if name in LEVELS and level:
        return LEVELS[name].get(level, f"any {name.replace('_', ' ')}")
    if name in FLAGS:
        return FLAGS[name]
    if name.startswith(SUBJECT):
        return f"about {name.removeprefix(SUBJECT)}"
    for own in ("tag:", "meta:", "tagged:"):
        tag = tag.removeprefix(own)
    return tag.replace("_", " ").replace("=", ": ")
