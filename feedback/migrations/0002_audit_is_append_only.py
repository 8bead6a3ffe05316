"""Triggers that refuse to change or remove an audit event, on either database."""

from __future__ import annotations

from typing import Any

from django.db import migrations

SQLITE = """
CREATE TRIGGER audit_no_{verb} BEFORE {verb} ON feedback_auditevent
BEGIN SELECT RAISE(ABORT, 'audit events are append-only'); END
"""
POSTGRES_FUNCTION = """
CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'audit events are append-only'; END $$
"""
POSTGRES = """
CREATE TRIGGER audit_no_{verb} BEFORE {verb} ON feedback_auditevent
FOR EACH ROW EXECUTE FUNCTION audit_append_only()
"""


def add(apps: Any, schema_editor: Any) -> None:
    postgres = schema_editor.connection.vendor == "postgresql"
    if postgres:
        schema_editor.execute(POSTGRES_FUNCTION)
    for verb in ("update", "delete"):
        schema_editor.execute((POSTGRES if postgres else SQLITE).format(verb=verb))


def remove(apps: Any, schema_editor: Any) -> None:
    postgres = schema_editor.connection.vendor == "postgresql"
    for verb in ("update", "delete"):
        schema_editor.execute(f"DROP TRIGGER audit_no_{verb}" + (" ON feedback_auditevent" if postgres else ""))
    if postgres:
        schema_editor.execute("DROP FUNCTION audit_append_only()")


class Migration(migrations.Migration):
    dependencies = [("feedback", "0001_ground")]
    operations = [migrations.RunPython(add, remove, elidable=False)]
