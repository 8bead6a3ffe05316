"""A real OpenAI-compatible server: transformers' own, with a tiny model of random weights.

Its replies are garbage, so the right result is that every instance is an abstention: no winner is made up.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from feedback.models import Annotation
from routing.models import JudgeCall, Verdict
from tests.conftest import make_cast
from tests.routing.judging_cast import assert_money_adds_up, endpoint_judge, judge_all, set_cap, spent_on_calls
from tests.routing.tiny_judge import write_tiny_model

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """(port, model name) of a running ``transformers serve``."""
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    pytest.importorskip("openai")  # transformers serve imports its types
    folder = tmp_path_factory.mktemp("tiny-judge")
    write_tiny_model(folder)
    port = free_port()
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(folder), "--device", "cpu"]
    log = (folder / "server.log").open("wb")
    server = subprocess.Popen([*command, "--port", str(port), "--host", "127.0.0.1"], stdout=log, stderr=log)
    try:
        wait_until_up(server, port, folder / "server.log")
        yield port, str(folder)
    finally:
        server.terminate()
        server.wait(20)
        log.close()


def wait_until_up(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(240):
        if server.poll() is not None:
            pytest.fail(f"the server ended: {log.read_text(encoding='utf-8')[-2000:]}")
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=2, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    pytest.fail("the server did not come up in two minutes")


def test_a_real_server_with_a_model_that_talks_nonsense_gives_abstentions_only(
    served: tuple[int, str], settings: Any
) -> None:
    port, model = served
    settings.EGRESS_ALLOW = [f"127.0.0.1:{port}"]
    cast = make_cast(instances=3)
    set_cap(cast.task, 10_000_000)
    judge = endpoint_judge(cast, f"http://127.0.0.1:{port}/v1", model=model, max_tokens=32, deadline=60.0)
    job = judge_all(cast, judge)
    assert (job.state, job.result["abstained"], job.result["judged"]) == ("succeeded", 3, 0), job.result
    assert set(Verdict.objects.values_list("p_a", flat=True)) == {None}
    assert not Annotation.objects.filter(source="judge").exists()
    calls = list(JudgeCall.objects.all())
    assert {call.state for call in calls} == {"settled"}
    assert any(call.raw for call in calls)
    # this server counts tokens, so the cost is measured and below the worst case
    assert all(call.cost_measured and 0 < call.cost_micros < call.reserved_micros for call in calls)
    assert assert_money_adds_up(cast.task).spent_micros == spent_on_calls(cast.task)
