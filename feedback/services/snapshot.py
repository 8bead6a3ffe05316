"""One consistent picture of the database, read in constant memory while others write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet


class Snapshot:
    """Reads of one transaction on a connection of its own; open one with :func:`snapshot`."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection

    def rows(self, queryset: QuerySet[Any, Any], chunk: int = 500) -> Iterator[tuple[Any, ...]]:
        """The rows of a ``values_list`` query, ``chunk`` at a time (PostgreSQL: a server-side cursor)."""
        compiler = queryset.query.get_compiler(connection=self._connection)
        yield from compiler.results_iter(tuple_expected=True, chunked_fetch=True, chunk_size=chunk)


@contextmanager
def snapshot() -> Iterator[Snapshot]:
    """Everything read inside is of one moment.

    PostgreSQL: REPEATABLE READ, READ ONLY. SQLite: one deferred transaction, which in WAL mode keeps the state of its
    first read and, unlike the IMMEDIATE ones that ``atomic`` begins, blocks no writer. The connection is a second one
    of this process: what the calling code has not committed yet is not in the picture.
    """
    connection = connections.create_connection(DEFAULT_DB_ALIAS)
    try:
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            else:
                cursor.execute("BEGIN DEFERRED")
            cursor.execute("SELECT 1 FROM feedback_task LIMIT 1")  # the first read fixes the moment
            cursor.fetchall()
        yield Snapshot(connection)
    finally:
        try:
            with connection.cursor() as cursor:
                cursor.execute("ROLLBACK")
        finally:
            connection.close()
