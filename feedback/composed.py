"""Queries that the ORM composes once: later calls only fill in the values.

Composing a query costs the ORM several times what the database needs to run it. The few that each labelled instance
passes through are therefore written once, as ordinary querysets with a ``Slot`` for each value that differs::

    of_person = Rows(lambda: Assignment.objects.filter(annotator__user=slot("user")).select_related("task"))
    of_person.first(user=user.pk)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.base import ModelState
from django.db.models.expressions import Expression
from django.db.models.query import get_related_populators
from django.db.models.sql import UpdateQuery

M = TypeVar("M", bound=models.Model)


class Slot(Expression):
    """A value that is filled in when the query runs. ``output_field`` says how it is written for the database."""

    def __init__(self, name: str, output_field: models.Field[Any, Any]) -> None:
        super().__init__(output_field=output_field)
        self.name, self.write = name, _writer(output_field)

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]


def slot(name: str, field: type[models.Field[Any, Any]] = models.BigIntegerField) -> Slot:
    return Slot(name, field())


class _Composed(threading.local):
    """The statement of a query: SQL, and its parameters with slots among them. For each thread and kind of database."""

    def __init__(self, compose: Callable[[], Any]) -> None:
        self._compose = compose
        self._of: dict[str, tuple[str, list[Any], Any]] = {}

    def __call__(self, database: BaseDatabaseWrapper) -> tuple[str, list[Any], Any]:
        """With the reader of the rows, for a SELECT."""
        if database.vendor not in self._of:
            query = self._compose()
            compiler = query.get_compiler(connection=database)
            sql, parameters = compiler.as_sql()
            reader = None if isinstance(query, UpdateQuery) else _Reader(compiler, database.alias)
            self._of[database.vendor] = sql, list(parameters), reader
        return self._of[database.vendor]


class _Quick:
    """Makes an instance of a row's values as ``Model.from_db`` does, but all at once instead of field by field.

    For models without signals of their own making and without a ``from_db`` of their own.
    """

    def __init__(self, model: type[models.Model]) -> None:
        self._model = model

    def from_db(self, alias: str, names: Sequence[str], values: Sequence[Any]) -> Any:
        made = self._model.__new__(self._model)
        state = ModelState()
        state.adding, state.db = False, alias
        made.__dict__.update(zip(names, values, strict=True), _state=state)
        return made


def _make_quick(populators: Iterable[Any]) -> None:
    """Let ``select_related`` make its instances so too."""
    for populator in populators:
        populator.model_cls = _Quick(populator.model_cls)
        _make_quick(populator.related_populators)


class _Reader:
    """Makes instances of rows, as ``django.db.models.query.ModelIterable`` does of a compiler's."""

    def __init__(self, compiler: Any, alias: str) -> None:
        fields = compiler.klass_info["select_fields"]
        self._compiler, self._alias = compiler, alias
        self._converters = compiler.get_converters([selected[0] for selected in compiler.select])
        self._own = slice(fields[0], fields[-1] + 1)
        self._names = [selected[0].target.attname for selected in compiler.select[self._own]]
        self._quick = _Quick(compiler.klass_info["model"])
        self._related: Any = get_related_populators(compiler.klass_info, compiler.select, alias)  # type: ignore[call-arg]  # the stubs are of Django 6
        _make_quick(self._related)

    def __call__(self, rows: Iterable[Sequence[Any]]) -> list[Any]:
        return [self._instance(row) for row in self._compiler.apply_converters(rows, self._converters)]

    def _instance(self, row: Sequence[Any]) -> Any:
        instance = self._quick.from_db(self._alias, self._names, row[self._own])
        for populator in self._related:
            populator.populate(row, instance)
        for name, column in self._compiler.annotation_col_map.items():
            setattr(instance, name, row[column])
        return instance


_CONVERTED = (models.JSONField, models.UUIDField, models.DateTimeField)
"""Fields that write a number or a text in another way than it is."""
_AS_IS = (int, str, bool, type(None))


def _writer(field: models.Field[Any, Any]) -> Callable[[Any, BaseDatabaseWrapper], Any]:
    """How the field's values are written for the database. Plain ones need no asking, which takes a dozen calls."""
    if isinstance(field, _CONVERTED):
        return field.get_db_prep_save
    return lambda value, database: value if type(value) in _AS_IS else field.get_db_prep_save(value, database)


def _filled(parameters: Sequence[Any], values: dict[str, Any], database: BaseDatabaseWrapper) -> list[Any]:
    return [one.write(values[one.name], database) if isinstance(one, Slot) else one for one in parameters]


class Asked(NamedTuple):
    """A statement with its values, and what is made of the database's answer to it."""

    sql: str
    values: list[Any]
    answer: Callable[[Any], Any]


def together(*statements: Asked) -> list[Any]:
    """The answers to several statements, in one round trip to PostgreSQL. Each sees what those before it did."""
    database = connections[DEFAULT_DB_ALIAS]
    with database.cursor() as cursor:
        if database.vendor != "postgresql":
            return [_answered(cursor, one.sql, one.values, one.answer) for one in statements]
        values = [value for one in statements for value in one.values]
        answers = [_answered(cursor, ";\n".join(one.sql for one in statements), values, statements[0].answer)]
        for one in statements[1:]:
            cursor.nextset()
            answers.append(one.answer(cursor))
    return answers


def _answered(cursor: Any, sql: str, values: list[Any], answer: Callable[[Any], Any]) -> Any:
    cursor.execute(sql, values)
    return answer(cursor)


def _one(statement: Asked) -> Any:
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        return _answered(cursor, statement.sql, statement.values, statement.answer)


class Rows:
    """A SELECT of whole model instances, ``select_related`` and annotations included."""

    def __init__(self, compose: Callable[[], models.QuerySet[Any]]) -> None:
        self._composed = _Composed(lambda: compose().query)

    def asked(self, **values: Any) -> Asked:
        """For :func:`together`: all rows."""
        database = connections[DEFAULT_DB_ALIAS]
        sql, parameters, reader = self._composed(database)
        return Asked(sql, _filled(parameters, values, database), lambda cursor: reader(cursor.fetchall()))

    def asked_whether(self, **values: Any) -> Asked:
        """For :func:`together`: whether there is a row. All are read, since the query may be there to lock them."""
        database = connections[DEFAULT_DB_ALIAS]
        sql, parameters, _ = self._composed(database)
        return Asked(sql, _filled(parameters, values, database), lambda cursor: bool(cursor.fetchall()))

    def all(self, **values: Any) -> list[Any]:
        found: list[Any] = _one(self.asked(**values))
        return found

    def first(self, **values: Any) -> Any:
        """The first row, or None."""
        found = self.all(**values)
        return found[0] if found else None


class Whole:
    """All columns of a model, for a statement that is written by hand: ``columns``, and instances of rows of them."""

    def __init__(self, model: type[models.Model]) -> None:
        self.columns = ", ".join(f'"{field.column}"' for field in model._meta.concrete_fields)
        self._composed = _Composed(lambda: model._base_manager.all().query)

    def read(self, row: Sequence[Any]) -> Any:
        """The instance of a row that begins with these columns."""
        reader = self._composed(connections[DEFAULT_DB_ALIAS])[2]
        return reader([row])[0]


class Update:
    """An UPDATE of one table's rows; the number of rows is the answer."""

    def __init__(self, compose: Callable[[], models.QuerySet[Any]], **changes: Any) -> None:
        self._composed = _Composed(lambda: self._query(compose(), changes))

    @staticmethod
    def _query(rows: models.QuerySet[Any], changes: dict[str, Any]) -> Any:
        query: Any = rows.order_by().query.chain(UpdateQuery)
        query.add_update_values(changes)
        return query

    def asked(self, **values: Any) -> Asked:
        """For :func:`together`."""
        database = connections[DEFAULT_DB_ALIAS]
        sql, parameters, _ = self._composed(database)
        return Asked(sql, _filled(parameters, values, database), lambda cursor: int(cursor.rowcount))

    def __call__(self, **values: Any) -> int:
        return int(_one(self.asked(**values)))


class Insert:
    """An INSERT of one new instance of ``model``, which gets its key. Nothing listens to these models' signals.

    ``once`` names a unique foreign key: where a row has the same already, that row is written anew but for ``kept``,
    and the instance becomes that row.
    """

    def __init__(self, model: type[models.Model], *, once: str = "", kept: Sequence[str] = ()) -> None:
        fields = [field for field in model._meta.concrete_fields if not field.primary_key]
        quoted = ", ".join(f'"{field.column}"' for field in fields)
        holes = ", ".join("%s" for _ in fields)
        table, key = model._meta.db_table, model._meta.pk
        assert key is not None
        self._fields = [(field, _writer(field)) for field in fields]
        self._sql = f'INSERT INTO "{table}" ({quoted}) VALUES ({holes})'  # noqa: S608 - names of our own columns
        self._kept = [field.attname for field in fields if field.name in kept]
        if once:
            changed = [field.column for field in fields if field.name not in (once, *kept)]
            anew = ", ".join(f'"{column}" = excluded."{column}"' for column in changed)
            self._sql += f' ON CONFLICT ("{model._meta.get_field(once).column}") DO UPDATE SET {anew}'  # type: ignore[union-attr]
        self._sql += f' RETURNING "{key.column}", "public_id"'

    def __call__(self, instance: M) -> M:
        database = connections[DEFAULT_DB_ALIAS]
        values = [write(field.pre_save(instance, True), database) for field, write in self._fields]
        with database.cursor() as cursor:
            cursor.execute(self._sql, values)
            instance.pk, public_id = cursor.fetchone()
        instance._state.adding, instance._state.db = False, database.alias
        if UUID(str(public_id)) != instance.public_id:  # type: ignore[attr-defined]
            instance.refresh_from_db(fields=self._kept)
        return instance
