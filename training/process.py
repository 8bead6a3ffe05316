"""The outer edge of a process that works in a folder: asked to stop, failed, or done, `result.json` says so."""

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from training.engine.errors import CancelledError, RunError
from training.engine.files import replace_json
from training.engine.progress import Stop

FINISHED, FAILED, CANCELLED = 0, 1, 3
Work = Callable[[Path, Stop], dict[str, Any]]


class Wishes(BaseModel):
    """Base of what a folder's settings file asks for: known fields only."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Kind = TypeVar("Kind", bound=Wishes)


def read_wishes(path: Path, kind: type[Kind]) -> Kind:
    """The settings file of a folder. Raises RunError with one sentence that names every wrong field."""
    try:
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise RunError(f"There is no {path.name} in {path.parent}.") from None
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise RunError(f"{path.name} is not valid: {faults}.") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path.name} is not valid JSON: {error}.") from error


def execute(folder: Path, work: Work) -> int:
    """Do the work, write `result.json`, return the exit code. The work is done anew however often it is started."""
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    stop, begin = Stop(folder), time.monotonic()
    stop.listen()
    answer: dict[str, Any] = {"status": "failed", "error": None, "error_rows": []}
    code = FAILED
    try:
        answer, code = {**work(folder, stop), "status": "finished"}, FINISHED
    except CancelledError:
        answer["status"], code = "cancelled", CANCELLED
    except RunError as error:
        answer |= {"error": str(error), "error_rows": error.rows[:100]}
    except Exception as error:  # the process's outermost edge: whatever it was, it must be said
        traceback.print_exc()
        answer["error"] = f"The work stopped on an unexpected {type(error).__name__}: {error}"
    replace_json(result, answer | {"seconds": time.monotonic() - begin})
    return code


def main(module: str, words: str, work: Work, arguments: list[str] | None = None) -> int:
    """The command line `python -m MODULE FOLDER`."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=words)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args(arguments).folder
    if not folder.is_dir():
        print(f"There is no folder {folder}.", file=sys.stderr)
        return FAILED
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    return execute(folder.resolve(), work)
