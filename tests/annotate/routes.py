"""Every route of the site with what its view declares, so that a new one is tested from the day it is added."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django.urls import URLPattern, URLResolver, get_resolver

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Route:
    """``arguments`` maps each argument to its converter's name; ``view`` is what the URL calls."""

    name: str
    path: str
    view: Any
    arguments: dict[str, str]

    @property
    def is_api(self) -> bool:
        return self.path.startswith("api/")

    @property
    def permission(self) -> str | None:
        """The permission that ``in_project`` asks for; ``None`` for a page above projects."""
        return getattr(self.view, "permission", None)

    @property
    def needs(self) -> dict[str, Any]:
        """What an API view declares, by method."""
        return dict(getattr(getattr(self.view, "cls", None), "needs", {}))

    def url(self, **known: Any) -> str:
        """The address, with arguments that are not ``known`` made up."""
        made_up = {"uuid": str(uuid4()), "int": "1", "str": "x", "slug": "x", "path": "x"}
        values = {name: str(known.get(name) or made_up[kind]) for name, kind in self.arguments.items()}
        path = self.path
        for name, kind in self.arguments.items():
            path = path.replace(f"<{kind}:{name}>", values[name])
        return f"/{path}"


def routes() -> list[Route]:
    """Every named route of the project; allauth's own ones are tested by allauth."""
    return [route for route in _walk(get_resolver(), "") if not route.view.__module__.startswith("allauth.")]


def _walk(resolver: URLResolver, prefix: str) -> Iterator[Route]:
    for pattern in resolver.url_patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern, path)
        elif isinstance(pattern, URLPattern):
            converters = {
                name: type(converter).__name__.removesuffix("Converter").lower().replace("string", "str")
                for name, converter in pattern.pattern.converters.items()
            }
            yield Route(pattern.name or "", path, pattern.callback, converters)
