"""The full-text index of instances, on either database. The sweep fills it."""

from __future__ import annotations

from typing import Any

from django.db import migrations

# contentless: the words are kept, the texts are not stored a second time
SQLITE = (
    "CREATE VIRTUAL TABLE feedback_instancewords USING fts5"
    "(words, content='', columnsize=0, tokenize='unicode61 remove_diacritics 0')"
)
# no foreign key: keys are never used again, and a search only narrows rows of the instances' own table
POSTGRES = "CREATE TABLE feedback_instancewords (instance_id bigint PRIMARY KEY, words tsvector NOT NULL)"
POSTGRES_INDEX = "CREATE INDEX instancewords_words ON feedback_instancewords USING gin (words)"


def add(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(POSTGRES)
        schema_editor.execute(POSTGRES_INDEX)
    else:
        schema_editor.execute(SQLITE)


def remove(apps: Any, schema_editor: Any) -> None:
    schema_editor.execute("DROP TABLE feedback_instancewords")
    apps.get_model("feedback", "Instance").objects.update(searchable=False)


class Migration(migrations.Migration):
    dependencies = [("feedback", "0005_reviewing")]
    operations = [migrations.RunPython(add, remove)]
