"""Markdown of anybody is rendered so that nothing runs, nothing loads from elsewhere and nothing is lost."""

from __future__ import annotations

import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate import markdown
from annotate.markdown import render

ALLOWED = {
    *("a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre"),
    *("s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
}
ATTRIBUTES = {"href", "title", "rel", "start", "class"}

PAYLOADS = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil.example/x.js></sCrIpT>",
    "<img src=x onerror=alert(1)>",
    "<img src='https://evil.example/pixel.gif'>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x></svg>",
    "<svg><foreignObject><iframe srcdoc='<script>alert(1)</script>'></foreignObject></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table></mtext></math>",
    "<math href='javascript:alert(1)'>x</math>",
    "<iframe src='javascript:alert(1)'></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data='javascript:alert(1)'></object>",
    "<embed src='javascript:alert(1)'>",
    "<base href='https://evil.example/'>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<link rel=stylesheet href='https://evil.example/x.css'>",
    "<style>@import 'https://evil.example/x.css'</style>",
    "<style><img src=x onerror=alert(1)></style>",
    "<form action='https://evil.example'><button>x</button></form>",
    "<input autofocus onfocus=alert(1)>",
    "<button formaction='javascript:alert(1)'>x</button>",
    "<details open ontoggle=alert(1)>x</details>",
    "<video src=x onerror=alert(1)></video>",
    "<audio autoplay onplay=alert(1) src=x></audio>",
    "<body onload=alert(1)>",
    "<marquee onstart=alert(1)>x</marquee>",
    "<template><script>alert(1)</script></template>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href=' javascript:alert(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<p style='background:url(https://evil.example)'>x</p>",
    "<p hx-get='/p/x/' hx-trigger=load>x</p>",
    "<p data-hx-post='/p/x/' data-hx-trigger=load>x</p>",
    "<p data-dialog-open=x data-copy=x>x</p>",
    "<p id=work-data>x</p>",
    "<p class='button button-primary'>x</p>",
    "<!-- <script>alert(1)</script> -->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?php echo 1 ?><script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](javascript&#58;alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x](java\nscript:alert(1))",
    "[x](&#x6A;avascript:alert(1))",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](file:///etc/passwd)",
    "[x](//evil.example)",
    "[x](/p/delete/)",
    "[x](?task=1)",
    "[x](#main)",
    "[x](<javascript:alert(1)>)",
    "[x][1]\n\n[1]: javascript:alert(1)",
    "![x](javascript:alert(1))",
    "![x](https://evil.example/pixel.gif)",
    "![x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+)",
    '![x"onerror=alert(1) y](https://a.example/x.png)',
    '![x](https://a.example/"onerror="alert(1))',
    '[x](https://a.example "title\\" onmouseover=\\"alert(1)")',
    "<javascript:alert(1)>",
    '<https://a.example/" onclick="alert(1)>',
    'https://a.example/"onmouseover="alert(1)',
    "https://a.example/<script>alert(1)</script>",
    '```"><script>alert(1)</script>\nx\n```',
    "```html\n<script>alert(1)</script>\n```",
    '```x" onload="alert(1)\ny\n```',
    "`<script>alert(1)</script>`",
    "    <script>alert(1)</script>",
    "|<img src=x onerror=alert(1)>|b|\n|-|-|\n|<script>alert(1)</script>|x|",
    "# <script>alert(1)</script>",
    "> <script>alert(1)</script>",
    "- <script>alert(1)</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\\<script>alert(1)\\</script>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    '<a href="x\u0000javascript:alert(1)">x</a>',
    "\u202e<script>alert(1)</script>",
    "＜script＞alert(1)＜/script＞",
    "{{ constructor.constructor('alert(1)')() }}",
    "${alert(1)}",
]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def assert_safe(html: str) -> None:
    parser = Tags()
    parser.feed(html)
    for tag, attributes in parser.found:
        assert tag in ALLOWED, tag
        assert set(attributes) <= ATTRIBUTES, attributes
        if "href" in attributes:
            assert (attributes["href"] or "").lower().startswith(("https://", "http://", "mailto:")), attributes
            assert {"noopener", "nofollow"} <= set((attributes["rel"] or "").split())
        if "class" in attributes:
            assert "button" not in (attributes["class"] or "")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_payload_stays_text(payload: str) -> None:
    assert_safe(render(payload))
    assert_safe(render(f"text {payload} text"))
    assert_safe(render(f"- a\n\n  {payload}\n\n> {payload}"))


def test_there_are_enough_payloads() -> None:
    assert len(set(PAYLOADS)) >= 60


@given(st.text(alphabet=st.sampled_from("<>\"'`=[]()!#*_~|:/\\&; \nabjs@-.0"), max_size=200))
def test_no_arrangement_of_markup_escapes(text: str) -> None:
    assert_safe(markdown._clean(text))


@given(st.text(max_size=300))
def test_any_text_renders(text: str) -> None:
    assert isinstance(render(text), str)


def test_html_of_the_source_is_shown_as_it_is_written() -> None:
    assert "&lt;b&gt;bold&lt;/b&gt;" in render("<b>bold</b>")


def test_code_is_coloured_by_classes() -> None:
    html = render("```python\ndef f():\n    return '<b>'\n```")
    assert '<pre class="highlight">' in html
    assert '<span class="k">def</span>' in html
    assert "&lt;b&gt;" in html


def test_code_in_an_unknown_language_stays_plain() -> None:
    assert render("```nolang\na < b\n```") == '<pre class="highlight"><code>a &lt; b\n</code></pre>\n'


def test_an_image_becomes_a_link_with_its_words() -> None:
    html = render("![a chart](https://a.example/c.png)")
    assert "<img" not in html
    assert '<a href="https://a.example/c.png" rel="noopener noreferrer nofollow">a chart</a>' in html


def test_bare_addresses_become_links_and_words_do_not() -> None:
    html = render("See https://a.example/x and README.md or Mr.Smith")
    assert html.count("<a ") == 1


def test_tables_lists_and_emphasis_are_kept() -> None:
    html = render("|a|b|\n|-|-|\n|1|2|\n\n1. x\n2. *y* **z** ~~w~~")
    for tag in ("<table>", "<ol>", "<em>", "<strong>", "<s>"):
        assert tag in html


def test_a_text_too_long_for_markdown_is_shown_as_written() -> None:
    html = render("*a* <b>" * 40_000)
    assert html.startswith('<pre class="raw">')
    assert "<b>" not in html


LONG = {
    "prose": "Here is a paragraph of normal text with some `code`. It goes on for a while, as answers do.\n\n" * 1020,
    "code": "```python\n" + "def f(x):\n    return x + 1  # why\n" * 2900 + "```",
    "one line": "word " * 20_000,
    "addresses": "a://b" * 20_000,
    "links": "http://" * 14_000,
    "quotes": ("> " * 10 + "x\n") * 4_500,
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG.keys())
def test_a_hundred_kilobytes_do_not_hold_a_page_up(text: str) -> None:
    assert len(text) > 90_000
    best = min(_seconds(text) for _ in range(3))
    assert best < 0.5  # 0.1 s on an idle core; tests run beside others


def _seconds(text: str) -> float:
    start = time.perf_counter()
    markdown._clean(text)
    return time.perf_counter() - start


def test_a_text_is_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = render("once and only once")
    monkeypatch.setattr(markdown, "_clean", lambda text: pytest.fail("rendered again"))
    assert render("once and only once") == first


def test_the_cache_forgets_the_oldest() -> None:
    rendered = markdown._Rendered()
    rendered.put(b"a", "x" * markdown.CACHE_CHARS)
    rendered.put(b"b", "y")
    assert rendered.get(b"a") is None
    assert rendered.get(b"b") == "y"
