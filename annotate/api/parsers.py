"""One way in for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer

from feedback import strict_json


class StrictJSONParser(BaseParser):
    """JSON through :mod:`feedback.strict_json`: bounded, no NaN, no duplicate keys, only storable text."""

    media_type = "application/json"
    renderer_class = JSONRenderer

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        # one byte more than allowed: enough to be refused, however long the body is
        body = stream.read(strict_json.MAX_BYTES + 1)
        try:
            return strict_json.parse(body)
        except strict_json.InvalidJSON as error:
            raise ParseError(error.said_of("The body")) from error
