"""The guard on outgoing connections, seen from the judge, its first user."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from feedback.egress import (
    Deadline,
    EgressPolicy,
    EgressRefused,
    HostNotFound,
    check_url,
    guarded_client,
    is_public_address,
)
from tests.routing.judge_endpoint import GOOD, drip_body, endless, judge_endpoint

INTERNAL = [
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "192.88.99.1", "198.18.0.1", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:7f00:1", "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
    "100::1", "2001::1", "2001:0:7f00:1::", "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "3fff::1",
    "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
    "2606:4700::5efe:127.0.0.1", "2606:4700::200:5efe:10.0.0.1", "not an address", "", "127.1", "0x7f000001",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]

URLS = [
    "http://127.0.0.1/", "http://127.0.0.1:8000/v1", "https://localhost/", "http://LOCALHOST./", "http://127.1/",
    "http://0x7f.0.0.1/", "http://0x7f000001/", "http://2130706433/", "http://017700000001/", "http://0177.0.0.1/",
    "http://0/", "http://0.0.0.0/", "http://[::1]/", "http://[::]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]/", "http://[::127.0.0.1]/", "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/",
    "http://[fe80::1]/", "http://[fc00::1]/", "http://169.254.169.254/latest/meta-data/", "http://2852039166/",
    "http://0xa9fea9fe/", "http://192.168.0.1/", "http://10.1.2.3/", "http://172.16.5.4/", "http://100.64.0.1/",
    "http://198.18.0.1/", "http://224.0.0.1/", "http://255.255.255.255/", "http://user@127.0.0.1/",
    "http://user:pass@8.8.8.8/", "http://8.8.8.8@127.0.0.1/", "http://127.0.0.1#@8.8.8.8/", "http://127.0.0.1?@8.8.8.8/",
    "file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "data:text/plain,x", "javascript:alert(1)",
    "unix:///var/run/docker.sock", "http:///v1", "http://", "//127.0.0.1/", "127.0.0.1", "", " ", "http://[::1",
    "http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3/", "http://127\u30020\u30020\u30021/",
    "http://\uff11\uff12\uff17.0.0.1/", "http://loc%61lhost/", "http://127.0.0.1%00.example/", "http://127.0.0.1%2f@8.8.8.8/",
    "http://\\127.0.0.1/", "http://127.0.0.1\\@8.8.8.8/", "http:/127.0.0.1/", "http://0000::1/",
]  # fmt: skip


@pytest.mark.parametrize("address", INTERNAL)
def test_an_internal_address_is_not_public(address: str) -> None:
    assert not is_public_address(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_ordinary_address_is_public(address: str) -> None:
    assert is_public_address(address)


def resolver(*addresses: str) -> EgressPolicy:
    return EgressPolicy(resolve=lambda host, port, timeout: addresses)


@contextmanager
def listener() -> Iterator[tuple[int, list[str]]]:
    """A socket on loopback that notes every connection."""
    server = socket.create_server(("127.0.0.1", 0))
    seen: list[str] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            seen.append("connected")
            connection.close()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1], seen
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(2.0)


def test_there_are_sixty_forms_of_internal_urls() -> None:
    assert len(URLS) >= 60


@pytest.mark.parametrize("url", URLS)
def test_a_url_to_an_internal_or_odd_place_is_refused_when_it_is_typed(url: str) -> None:
    with pytest.raises(EgressRefused):
        check_url(url, EgressPolicy())


def test_no_form_of_url_connects_to_an_internal_listener() -> None:
    with listener() as (port, seen):
        for url in (url for url in URLS if "@8.8.8.8" not in url):
            target = url.replace("127.0.0.1", f"127.0.0.1:{port}", 1) if "127.0.0.1/" in url else url
            with guarded_client(EgressPolicy(), Deadline.after(2.0)) as client:
                try:
                    client.get(target)
                except (EgressRefused, httpx.HTTPError, httpx.InvalidURL, UnicodeError, ValueError):
                    continue
                pytest.fail(f"{url} was fetched")
        assert seen == []


def test_one_internal_address_among_public_ones_refuses_the_host() -> None:
    with pytest.raises(EgressRefused):
        resolver("8.8.8.8", "127.0.0.1").addresses("mixed.example", 443, 1.0)
    assert resolver("8.8.8.8").addresses("fine.example", 443, 1.0) == ("8.8.8.8",)


def test_a_second_answer_of_the_name_server_cannot_redirect_the_connection() -> None:
    answers = iter([["127.0.0.1"], ["127.0.0.1"], ["127.0.0.1"]])
    looked_up: list[str] = []

    def rebinding(host: str, port: int, timeout: float) -> list[str]:
        looked_up.append(host)
        return next(answers)

    with judge_endpoint(lambda h: h.answer_chat(json.dumps(GOOD))) as endpoint:
        policy = EgressPolicy(frozenset({("judge.example", endpoint.port)}), rebinding)
        with guarded_client(policy, Deadline.after(5.0)) as client:
            reply = client.post(f"http://judge.example:{endpoint.port}/v1/x", json={})
    assert reply.status_code == 200
    assert looked_up == ["judge.example"]
    assert endpoint.headers[0]["Host"] == f"judge.example:{endpoint.port}"


def test_the_list_names_host_and_port_and_nothing_beside_them() -> None:
    policy = EgressPolicy.from_entries(["localhost:8001", "[::1]:8002", " "])
    assert policy.allowed == {("localhost", 8001), ("::1", 8002)}
    assert policy.addresses("LOCALHOST.", 8001, 1.0)
    with pytest.raises(EgressRefused):
        policy.addresses("localhost", 8002, 1.0)


@pytest.mark.parametrize("entry", ["localhost", "localhost:", ":80", "localhost:0", "localhost:99999", "localhost:x"])
def test_a_malformed_entry_of_the_list_is_an_error(entry: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        EgressPolicy.from_entries([entry])


def test_an_unknown_host_is_reported_as_such() -> None:
    with pytest.raises(HostNotFound):
        EgressPolicy().addresses("does-not-exist.invalid", 80, 2.0)


def test_a_redirect_to_an_internal_address_is_returned_and_not_followed() -> None:
    with (
        listener() as (port, seen),
        judge_endpoint(lambda h: h.answer(302, b"", Location=f"http://127.0.0.1:{port}/")) as endpoint,
    ):
        policy = EgressPolicy.from_entries([f"127.0.0.1:{endpoint.port}"])
        with guarded_client(policy, Deadline.after(5.0)) as client:
            assert client.get(endpoint.base_url).status_code == 302
        assert seen == []


def test_a_client_told_to_follow_redirects_is_still_guarded() -> None:
    with (
        listener() as (port, seen),
        judge_endpoint(lambda h: h.answer(302, b"", Location=f"http://127.0.0.1:{port}/")) as endpoint,
    ):
        policy = EgressPolicy.from_entries([f"127.0.0.1:{endpoint.port}"])
        with guarded_client(policy, Deadline.after(5.0)) as client, pytest.raises(EgressRefused):
            client.get(endpoint.base_url, follow_redirects=True)
        assert seen == []


def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        listener() as (port, seen),
        judge_endpoint(lambda h: h.answer_chat(json.dumps(GOOD))) as endpoint,
    ):
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        policy = EgressPolicy.from_entries([f"127.0.0.1:{endpoint.port}"])
        with guarded_client(policy, Deadline.after(5.0)) as client:
            assert client.get(endpoint.base_url).status_code == 200
        assert seen == []


def test_the_deadline_ends_a_drip_of_bytes() -> None:
    with judge_endpoint(drip_body) as endpoint:
        policy = EgressPolicy.from_entries([f"127.0.0.1:{endpoint.port}"])
        started = time.monotonic()
        with guarded_client(policy, Deadline.after(0.3)) as client, pytest.raises(httpx.TimeoutException):
            client.get(endpoint.base_url)
        assert time.monotonic() - started < 1.0


def test_the_deadline_ends_an_endless_stream() -> None:
    with judge_endpoint(endless) as endpoint:
        policy = EgressPolicy.from_entries([f"127.0.0.1:{endpoint.port}"])
        started = time.monotonic()
        with (
            guarded_client(policy, Deadline.after(0.3)) as client,
            pytest.raises(httpx.TimeoutException),
            client.stream("GET", endpoint.base_url) as reply,
        ):
            for _ in reply.iter_raw():
                pass
        assert time.monotonic() - started < 1.3
