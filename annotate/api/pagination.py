"""Pages by cursor, newest first. A limit above the cap is refused rather than quietly lowered."""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import NotFound, ParseError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

MAX_LIMIT = 200
_LARGEST_KEY = 2**63


class Pages(CursorPagination):
    page_size = 50
    page_size_query_param = "limit"
    page_size_query_description = f"How many results a page holds: 1 to {MAX_LIMIT}."
    max_page_size = MAX_LIMIT
    ordering = "-pk"

    def get_page_size(self, request: Request) -> int | None:
        wanted = request.query_params.get("limit")
        if wanted is None:
            return self.page_size
        if not (wanted.isascii() and wanted.isdigit() and 1 <= int(wanted[:9]) <= MAX_LIMIT and len(wanted) < 9):
            raise ParseError(f"limit must be a whole number from 1 to {MAX_LIMIT}.")
        return int(wanted)

    def decode_cursor(self, request: Request) -> Cursor | None:
        """A cursor's position is one of our keys; anything else is a 400, not a database error."""
        try:
            cursor: Cursor | None = super().decode_cursor(request)
        except NotFound as error:
            raise ParseError("This cursor is not one of ours.") from error
        if cursor and cursor.position is not None and not _is_key(str(cursor.position)):
            raise ParseError("This cursor is not one of ours.")
        return cursor

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }


def _is_key(position: str) -> bool:
    return position.isascii() and position.isdigit() and len(position) < 20 and int(position) < _LARGEST_KEY
