"""LaTeX formulas in markdown as MathML, which browsers set by themselves.

Formulas are ``$…$``, ``$$…$$``, ``\\(…\\)`` and ``\\[…\\]``; a dollar before a plain number is money. A formula that
cannot be read, is too long, or comes after too many others stays as it is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from latex2mathml import exceptions  # type: ignore[import-untyped]
from latex2mathml.converter import convert  # type: ignore[import-untyped]
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererProtocol
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.texmath import texmath_plugin

MAX_FORMULA = 1_000
MAX_FORMULAS = 300
TAGS = {
    *(
        "math",
        "mfrac",
        "mi",
        "mmultiscripts",
        "mn",
        "mo",
        "mover",
        "mpadded",
        "mphantom",
        "mprescripts",
        "mroot",
        "mrow",
    ),
    *("mspace", "msqrt", "mstyle", "msub", "msubsup", "msup", "mtable", "mtd", "mtext", "mtr", "munder", "munderover"),
}
ATTRIBUTES = {
    "math": {"display"},
    "mi": {"mathvariant"},
    "mo": {"stretchy", "fence", "form", "largeop", "movablelimits", "separator", "symmetric"},
    "mover": {"accent"},
    "mspace": {"width"},
    "mstyle": {"displaystyle", "scriptlevel"},
    "munder": {"accentunder"},
}
UNREADABLE: tuple[type[Exception], ...] = (
    *(kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    *(ElementTree.ParseError, StopIteration, ValueError, LookupError, TypeError, AttributeError, RecursionError),
)
MARKS = {
    "math_inline": ("$", "$"),
    "math_inline_double": ("$$", "$$"),
    "math_block": ("$$", "$$"),
}


def read_formulas(parser: MarkdownIt) -> None:
    """Let a parser read formulas."""
    options = {"allow_labels": False, "allow_space": False, "allow_digits": False, "allow_blank_lines": False}
    dollarmath_plugin(parser, double_inline=True, **options)  # type: ignore[arg-type]
    texmath_plugin(parser, delimiters="brackets")
    for kind in MARKS:
        parser.add_render_rule(kind, _formula)


def _formula(self: RendererProtocol, tokens: Sequence[Token], i: int, options: OptionsDict, env: EnvType) -> str:
    token = tokens[i]
    block = token.type != "math_inline"
    env["formulas"] = env.get("formulas", 0) + 1
    few = env["formulas"] <= MAX_FORMULAS
    shown = mathml(token.content, block=block) if few and not _is_money(token) else None
    if shown is None:
        shown = _as_written(token)
    return f"<p>{shown}</p>\n" if token.type == "math_block" else shown


def mathml(latex: str, *, block: bool) -> str | None:
    """A formula as MathML of known elements; None when it cannot be read."""
    if len(latex) > MAX_FORMULA:
        return None
    try:
        # the converter does not escape all of its text: what is no XML of known elements is no formula
        root = ElementTree.fromstring(convert(latex.strip(), display="block" if block else "inline"))  # noqa: S314
    except UNREADABLE:
        return None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    known = all(element.tag in TAGS for element in root.iter())
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False) if known else None


def _is_money(token: Token) -> bool:
    """Whether text between two dollars begins with a number and has no sign of a formula: ``$20 (in US$``."""
    return token.markup == "$" and token.content[:1].isdigit() and not set(token.content) & set("\\^_=+{}<>")


def _as_written(token: Token) -> str:
    opening, closing = {"\\(": ("\\(", "\\)"), "\\[": ("\\[", "\\]")}.get(token.markup, MARKS[token.type])
    text = f"{opening}{token.content}{closing}"
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
