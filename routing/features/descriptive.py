"""What kind of instance it is: subject, language, code, constraints, material. Words and patterns, no model."""

from __future__ import annotations

import re
from collections.abc import Sequence

from routing.features.texts import PairText

SUBJECTS: dict[str, frozenset[str]] = {
    name: frozenset(words.split())
    for name, words in {
        "programming": "python java javascript code function bug algorithm sql api html css regex compile class "
        "script program programming software git linux c++ rust database array loop",
        "mathematics": "equation integral derivative probability theorem prove proof algebra geometry sum matrix "
        "number triangle calculate solve polynomial arithmetic math maths",
        "science": "physics chemistry biology quantum energy atom cell evolution experiment molecule planet gravity "
        "scientific species gene dna star universe",
        "medicine": "doctor disease symptom treatment patient medicine health medical drug vaccine diagnosis pain "
        "therapy blood surgery dose",
        "law": "law legal court contract rights lawsuit attorney judge statute regulation copyright crime constitution",
        "business": "business marketing company customer market sales investment stock finance economy bank budget "
        "startup product inflation management revenue",
        "history": "history war empire century ancient king queen revolution president historical medieval treaty",
        "geography": "travel country city map visit trip europe africa asia mountain river capital destination",
        "arts": "poem story novel write character song movie film music painting art book lyrics fiction essay theatre",
        "society": "politics government society culture religion ethics philosophy education school gender democracy "
        "moral debate election",
        "everyday": "recipe cook food meal exercise sleep home garden dog cat wedding friend habit diet clean birthday",
        "language": "translate grammar sentence word english french spanish german synonym rewrite paraphrase "
        "proofread spelling summarize edit",
        "technology": "computer internet phone ai robot machine network data device security password battery "
        "server hardware blockchain encryption",
    }.items()
}

STOP_WORDS: dict[str, frozenset[str]] = {
    name: frozenset(words.split())
    for name, words in {
        "english": "the and of to is in that it you for are with what how on this be as can",
        "german": "der die das und ist nicht ein eine ich sie mit zu den von wie auf für es",
        "french": "le la les des et est une un pas que je vous pour dans sur avec comment du",
        "spanish": "el la los las que de y es un una no por para con como en se del",
        "portuguese": "o a os as que de e é um uma não por para com como em se do",
        "italian": "il lo gli che di e è un una non per con come in si della sono",
        "dutch": "de het een en van is dat niet ik je met op voor hoe zijn wat te",
    }.items()
}
SCRIPTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("japanese", re.compile("[\u3040-\u30ff]")),
    ("korean", re.compile("[\uac00-\ud7af]")),
    ("chinese", re.compile("[\u4e00-\u9fff]")),
    ("russian", re.compile("[\u0400-\u04ff]")),
    ("arabic", re.compile("[\u0600-\u06ff]")),
    ("hindi", re.compile("[\u0900-\u097f]")),
    ("greek", re.compile("[\u0370-\u03ff]")),
    ("hebrew", re.compile("[\u0590-\u05ff]")),
    ("thai", re.compile("[\u0e00-\u0e7f]")),
)
LEAST_SCRIPT_SHARE = 0.2
UNKNOWN_LANGUAGE = "unknown"

CODE = re.compile(
    r"```|^\s*(?:def |class |import |from \w+ import|#include|public |SELECT |function |const |let |var )|"
    r"\w+\([^)\n]*\)\s*[;{]|</\w+>|=>",
    re.MULTILINE,
)
MATH = re.compile(r"\$[^$\n]+\$|\\(?:frac|sum|int|sqrt)|\d\s*[-+*/^×÷=]\s*\(?\d|\b[xyn]\s*[=^]\s*\d|\b[fg]\(x\)")
FORMAT_CONSTRAINT = re.compile(
    r"\b(?:json|csv|yaml|xml|markdown|table|bullet(?:ed)? (?:points?|list)|haiku|limerick|acrostic|"
    r"(?:at most|at least|no more than|fewer than|less than|exactly|within|in|under|about|up to) (?:\d+|one|two|three|"
    r"four|five|six|ten|a single) (?:\w+ )?(?:words?|sentences?|lines?|paragraphs?|characters?|bullets?|items?|steps?)|"
    r"\d+[- ](?:word|sentence|line|paragraph)|(?:start|begin|end) (?:each|every|with)|do not use|without using|"
    r"only (?:use|answer|reply|respond|output)|in the (?:style|form|format) of|step[- ]by[- ]step|format)\b",
    re.IGNORECASE,
)
MATERIAL = re.compile(
    r"```|^>|\"{3}|\b(?:the following|below|given (?:the|this|that)|this (?:text|passage|article|paragraph|email)|"
    r"based on|according to the)\b.*?:|\n\n.{200,}",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)
ROLE_PLAY = re.compile(
    r"\b(?:pretend|imagine (?:you|that you)|act as|you are (?:a|an|now)|role ?play|embrace the role)\b", re.IGNORECASE
)
REASONING = re.compile(
    r"\b(?:why|explain|compare|analy[sz]e|evaluate|reason|prove|justify|pros and cons|trade-?offs?)\b", re.IGNORECASE
)
OPEN_ENDED = re.compile(
    r"\b(?:write|compose|draft|create|design|suggest|brainstorm|imagine|ideas?|story|poem|essay)\b", re.IGNORECASE
)
SENSITIVE = re.compile(
    r"\b(?:kill|suicid\w*|self[- ]harm|bomb|weapon|drugs?|hack|steal|illegal|racis\w+|sexual\w*|porn\w*|violen\w+|"
    r"abuse|murder|poison|hate|terroris\w+|depress\w+|addict\w+)\b",
    re.IGNORECASE,
)
REFUSAL = re.compile(
    r"\b(?:I(?:['’]m| am) (?:sorry|unable|not able|afraid)|I (?:cannot|can['’]?t|won['’]?t|must decline)|"
    r"as an? (?:AI|language model)|not appropriate)\b",
    re.IGNORECASE,
)
REFUSAL_CHARS = 400

PROMPT_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("code", CODE),
    ("mathematics_notation", MATH),
    ("format_constraint", FORMAT_CONSTRAINT),
    ("in_context_material", MATERIAL),
    ("role_play", ROLE_PLAY),
    ("reasoning", REASONING),
    ("open_ended", OPEN_ENDED),
    ("sensitive", SENSITIVE),
)
FLAG_NAMES: tuple[str, ...] = (
    *(name for name, _ in PROMPT_PATTERNS),
    "multi_turn",
    "english",
    "other_language",
    "completion_code",
    "one_refuses",
    "both_refuse",
    "several_requests",
)
SUBJECT_NAMES: tuple[str, ...] = (*(f"subject_{name}" for name in SUBJECTS), "subject_none")
MANY_REQUESTS = 3


def language_of(text: str, tokens: Sequence[str]) -> str:
    """The likeliest language by script, then by stop words; `unknown` when nothing speaks for one."""
    sample = text[:2000]
    for name, pattern in () if sample.isascii() else SCRIPTS:
        if len(pattern.findall(sample)) > LEAST_SCRIPT_SHARE * max(len(sample), 1):
            return name
    counts = {name: sum(map(words.__contains__, tokens[:150])) for name, words in STOP_WORDS.items()}
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] else UNKNOWN_LANGUAGE


def flags_of(pair: PairText, prompt_tokens: Sequence[str]) -> list[bool]:
    """One value per FLAG_NAMES. An unknown language (a formula, a code line) counts as neither English nor other."""
    prompt = pair.prompt[:8000]
    language = language_of(prompt, prompt_tokens)
    refusals = sum(bool(REFUSAL.search(text[:REFUSAL_CHARS])) for text in (pair.a, pair.b))
    requests = prompt.count("?") + len(re.findall(r"^\s*(?:[-*•]|\d+[.)])\s", prompt, re.MULTILINE))
    return [
        *(pattern.search(prompt) is not None for _, pattern in PROMPT_PATTERNS),
        pair.turns > 1,
        language == "english",
        language not in ("english", UNKNOWN_LANGUAGE),
        "```" in pair.a or "```" in pair.b,
        refusals == 1,
        refusals == 2,
        requests >= MANY_REQUESTS,
    ]


def subjects_of(prompt_tokens: Sequence[str]) -> list[bool]:
    """One value per SUBJECT_NAMES: every subject with one of its words in the prompt, plurals included; else none."""
    present = set(prompt_tokens)
    present |= {token[:-1] for token in present if token.endswith("s")}
    found = [not words.isdisjoint(present) for words in SUBJECTS.values()]
    return [*found, not any(found)]
