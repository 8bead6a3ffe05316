"""Formulas become MathML, money stays money, and nothing that a formula says becomes a page."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.formulas import MAX_FORMULA, MAX_FORMULAS, TAGS
from annotate.markdown import _TAGS, render, render_placed
from tests.browser.payloads import PAYLOADS

SQUARE = "<msup><mi>x</mi><mn>2</mn></msup>"


@pytest.mark.parametrize(
    ("text", "display"),
    [("See $x^2$.", "inline"), ("See \\(x^2\\).", "inline"), ("$$\nx^2\n$$", "block"), ("\\[x^2\\]", "block")],
)
def test_each_way_of_writing_a_formula_is_read(text: str, display: str) -> None:
    assert f'<math display="{display}"><mrow>{SQUARE}</mrow></math>' in render(text)


@pytest.mark.parametrize(
    "text",
    [
        "It costs $5 and $10.",
        "It costs $20 (in US$).",
        "$ not $ a formula",
        "\\$x\\$",
        "`$x^2$`",
        "```\n$x^2$\n```",
        "$\\frac$",
        f"${'x' * (MAX_FORMULA + 1)}$",
        "$\\text{<img src=x onerror=alert(1)>}$",
        "$\\text{<math><mi>x</mi></math><b>y</b>}$",
    ],
)
def test_what_is_no_formula_stays_as_it_is_written(text: str) -> None:
    assert "<math" not in render(text)


def test_a_formula_that_cannot_be_read_is_shown_with_its_marks() -> None:
    assert render("so $\\frac$ and \\(\\left(\\)") == "<p>so $\\frac$ and \\(\\left(\\)</p>\n"


def test_only_so_many_formulas_are_set() -> None:
    assert render("$x^2$ " * (MAX_FORMULAS + 5)).count("<math") == MAX_FORMULAS


def test_where_spans_are_marked_formulas_stand_as_they_are_written() -> None:
    html = render_placed("See $x^2$.")
    assert "<math" not in html
    assert "$x^2$" in re.sub("<[^>]*>", "", html)


KNOWN = _TAGS | TAGS
ELEMENT = re.compile(r"<(/?)([a-zA-Z0-9]+)([^>]*)>")


def assert_clean(html: str) -> None:
    for _, name, attributes in ELEMENT.findall(html):
        assert name in KNOWN, name
        assert not re.search(r"\son|style|src|xlink", attributes), attributes
        assert "javascript" not in attributes.lower()


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("around", ["${}$", "$\\text{{{}}}$", "\\[\\href{{{}}}{{x}}\\]", "$$\\style{{{}}}{{x}}$$"])
def test_no_payload_passes_through_a_formula(payload: str, around: str) -> None:
    assert_clean(render(around.format(payload)))


PIECES = ["\\frac", "{", "}", "_", "^", "x", "1", "\\left(", "\\right)", "&", "\\\\", "\\text", "\\sqrt", "<b>", "'"]
PIECES += ["\\begin{matrix}", "\\end{matrix}", "\\href", "\\limits", "\\genfrac", "\\over", "\\color", "\\class", '"']


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_any_formula_is_rendered_clean(latex: str) -> None:
    assert_clean(render(f"Before ${latex}$ and \\[{latex}\\] after"))
