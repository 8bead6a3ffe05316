"""The environment that tests run in; a pytest plugin (``-p tests.environment``) since settings load before conftest."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

VAR = tempfile.mkdtemp(prefix="tiebreak-test-")
atexit.register(shutil.rmtree, VAR, ignore_errors=True)

os.environ["VAR_DIR"] = VAR
os.environ["ENV_FILE"] = os.devnull
os.environ.update(HTTPS="0", ALLOWED_HOSTS="localhost,127.0.0.1,testserver", HF_HUB_OFFLINE="1", DB_POOL="0")
os.environ.setdefault("SECRET_KEY", "a-key-for-tests-only-0123456789-abcdefghij")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
