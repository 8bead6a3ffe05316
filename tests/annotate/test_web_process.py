"""The web process never loads what only a training or judge worker needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.conftest import REPOSITORY

PROGRAM = """
import json, sys
import django
django.setup()
import annotate.urls, annotate.wsgi
from django.test import Client
Client(raise_request_exception=False).get("/api/v1/schema/")
heavy = ("torch", "transformers", "sklearn", "scipy", "datasets", "trl", "accelerate", "pandas")
print(json.dumps([name for name in heavy if name in sys.modules]))
"""


def test_booting_the_site_imports_nothing_heavy() -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "annotate.settings", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, timeout=120, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []
