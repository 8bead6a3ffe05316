"""Many rows into one table at the speed of the database: COPY on PostgreSQL, one prepared INSERT on SQLite.

``bulk_create`` spends ten times longer in the ORM than the database does on the row. This goes around it, so it is for
rows that were validated before: only constraints of the database check what is written here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.db import connection, models
from django.utils import timezone

Converter = Callable[[Any], Any]


def insert(model: type[models.Model], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert ``rows``, each with a value per field of ``columns`` (foreign keys as ``<name>_id``).

    Fields that are not named get their default, the same in every row, so name those whose default differs by row
    (``public_id``). Raises IntegrityError as ``bulk_create`` does.
    """
    fields = {field.attname: field for field in model._meta.concrete_fields if not field.primary_key}
    unknown = set(columns) - set(fields)
    if unknown:
        raise ValueError(f"{model.__name__} has no fields {sorted(unknown)}")
    constant = {name: _default(field) for name, field in fields.items() if name not in columns}
    convert = [(at, found) for at, name in enumerate(columns) if (found := _converter(fields[name]))]
    rest = [_driver_value(fields[name], value) for name, value in constant.items()]
    ready = (_ready(row, convert, rest) for row in rows)
    _write(model._meta.db_table, [str(fields[name].column) for name in (*columns, *constant)], ready)


def _ready(row: Sequence[Any], convert: list[tuple[int, Converter]], rest: list[Any]) -> list[Any]:
    values = [*row, *rest]
    for at, converter in convert:
        values[at] = converter(values[at])
    return values


def _driver_value(field: models.Field[Any, Any], value: Any) -> Any:
    converter = _converter(field)
    return converter(value) if converter else value


def _default(field: Any) -> Any:
    if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        return timezone.now()
    return field.get_default()


def _converter(field: models.Field[Any, Any]) -> Converter | None:
    """What makes a field's value one that the driver takes; ``None`` when it is one."""
    if isinstance(field, models.JSONField):
        return json.dumps
    if isinstance(field, models.UUIDField) and not connection.features.has_native_uuid_field:
        return lambda value: None if value is None else value.hex
    if isinstance(field, models.DateTimeField):
        return connection.ops.adapt_datetimefield_value
    return None


def _write(table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    quote = connection.ops.quote_name
    named = ", ".join(quote(column) for column in columns)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            statement = f"COPY {quote(table)} ({named}) FROM STDIN"
            with connection.wrap_database_errors, cursor.copy(statement) as copy:
                for row in rows:
                    copy.write_row(row)
            return
        slots = ", ".join(["%s"] * len(columns))
        # names come from our models, never from a request
        cursor.executemany(f"INSERT INTO {quote(table)} ({named}) VALUES ({slots})", rows)  # type: ignore[arg-type]  # noqa: S608
