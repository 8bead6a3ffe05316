"""Full-text search over prompts and completions, on either database.

An instance is stored with ``searchable`` off, and the sweep moves such ones into the index (PostgreSQL: a ``tsvector``
under GIN; SQLite: FTS5). An import therefore pays nothing for the index, and a search misses nothing at any moment:
what is not indexed yet is read as it is stored, for a few seconds less strictly (parts of words, names of JSON keys).
Texts never change after an import, so nothing is indexed twice.
"""

from __future__ import annotations

import json
import re
import time

from django.db import connection, transaction
from django.db.models import Q, QuerySet, TextField
from django.db.models.expressions import RawSQL
from django.db.models.fields import BooleanField
from django.db.models.functions import Cast

from ..models import Instance

CHUNK = 500
MOST_INDEXED = 250_000  # code points of one instance: a tsvector holds at most 1 MB
_WORD = re.compile(r"[^\W_]+")
# scripts that set words apart by spaces and carry no combining marks; both databases cut them alike
_SPACED = re.compile(r"^[\u0000-\u02ff\u0370-\u052f\u1e00-\u206f]*$")

_POSTGRES_INDEX = """
INSERT INTO feedback_instancewords (instance_id, words)
SELECT one.id, to_tsvector('simple', translate(left((
  SELECT string_agg(text.value->>'content', ' ')
  FROM (SELECT jsonb_array_elements(one.prompt) AS value UNION ALL SELECT jsonb_array_elements(one.completions)) text
), %s), %s, %s))
FROM feedback_instance one WHERE one.id = ANY(%s)
"""
_SQLITE_INDEX = """
INSERT INTO feedback_instancewords (rowid, words)
SELECT one.id, substr((
  SELECT group_concat(coalesce(json_extract(text.value, '$.content'), ''), ' ')
  FROM (SELECT value FROM json_each(one.prompt) UNION ALL SELECT value FROM json_each(one.completions)) text
), 1, %s)
FROM feedback_instance one WHERE one.id IN (SELECT value FROM json_each(%s))
"""
_ASCII_MARKS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def index(seconds: float = 2.0) -> int:
    """Index what is not searchable yet, chunk by chunk, for about ``seconds``. Returns how many instances."""
    done, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        taken = _index_chunk()
        done += taken
        if taken < CHUNK:
            break
    return done


@transaction.atomic
def _index_chunk() -> int:
    new = Instance.objects.filter(searchable=False).order_by("pk")
    keys = list(new.select_for_update(skip_locked=_skips()).values_list("pk", flat=True)[:CHUNK])
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_POSTGRES_INDEX, [MOST_INDEXED, _ASCII_MARKS, " " * len(_ASCII_MARKS), keys])
        else:
            cursor.execute(_SQLITE_INDEX, [MOST_INDEXED, json.dumps(keys)])
    return Instance.objects.filter(pk__in=keys).update(searchable=True)


def _skips() -> bool:
    return bool(connection.features.has_select_for_update_skip_locked)


def matching(rows: QuerySet[Instance], text: str) -> QuerySet[Instance]:
    """``rows`` whose id begins with ``text``, or whose texts hold each of its words.

    A word also finds longer ones that begin with it; words in double quotes are found in this order. Scripts without
    spaces between words, or with combining marks, are read through for the text as it is.
    """
    phrases = _phrases(text)
    by_id = Q(external_id__startswith=text)
    if not phrases or not _SPACED.match(text):
        return _stored(rows, [text], by_id)
    new = Instance.objects.filter(searchable=False)
    found = _indexed(phrases) | by_id
    if new.exists():
        found |= Q(pk__in=_stored(new, [word for words in phrases for word in words], Q()).values("pk"))
    return rows.filter(found)


def _phrases(text: str) -> list[list[str]]:
    """The words looked for; those within double quotes, or joined by a mark such as a hyphen, stay together."""
    parts = [part for n, quoted in enumerate(text.split('"')) for part in ([quoted] if n % 2 else quoted.split())]
    return [words for part in parts if (words := _WORD.findall(part))]


def _indexed(phrases: list[list[str]]) -> Q:
    if connection.vendor == "postgresql":
        # words are letters and digits only, so nothing of the query language can be in them
        query = " & ".join("(" + " <-> ".join(f"'{word}':*" for word in words) + ")" for words in phrases)
        sql = "SELECT instance_id FROM feedback_instancewords WHERE words @@ to_tsquery('simple', %s)"
    else:
        query = " ".join('"' + " ".join(words) + '" *' for words in phrases)
        sql = "SELECT rowid FROM feedback_instancewords WHERE feedback_instancewords MATCH %s"
    return Q(pk__in=RawSQL(sql, [query], output_field=BooleanField()))  # noqa: S611 - parameters only


def _stored(rows: QuerySet[Instance], texts: list[str], other: Q) -> QuerySet[Instance]:
    """Rows whose stored JSON holds each of ``texts``, or that fit ``other``."""
    rows = rows.alias(prompt_json=Cast("prompt", TextField()), completions_json=Cast("completions", TextField()))
    every = Q()
    for text in texts:
        stored = json.dumps(text, ensure_ascii=connection.vendor == "sqlite")[1:-1]
        every &= Q(prompt_json__icontains=stored) | Q(completions_json__icontains=stored)
    return rows.filter(every | other) if other else rows.filter(every)
