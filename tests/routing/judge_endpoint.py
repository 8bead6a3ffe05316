"""A scripted OpenAI-compatible endpoint on 127.0.0.1, with every way in which a judge has been seen to fail."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GOOD = {"reason": "The first follows the instruction.", "verdict": "first", "strength": "clearly"}


def chat_reply(content: str | None, **extra: Any) -> dict[str, Any]:
    """The body of a chat completion with this content."""
    message = {"role": "assistant", "content": content, **extra.pop("message", {})}
    choice = {"index": 0, "message": message, "finish_reason": "stop", **extra.pop("choice", {})}
    return {"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 20}, **extra}


@dataclass
class JudgeEndpoint:
    """A running server: its base URL, the bodies and headers it received, and the behaviour of the next calls."""

    base_url: str
    port: int
    behave: Callable[[Handler], None]
    bodies: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """Reads the request, then does what the endpoint's script says."""

    endpoint: JudgeEndpoint
    body: dict[str, Any]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.body = json.loads(body or b"{}")
        self.endpoint.bodies.append(self.body)
        self.endpoint.paths.append(self.path)
        self.endpoint.headers.append(dict(self.headers.items()))
        try:
            self.endpoint.behave(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_GET(self) -> None:
        self.do_POST()

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        """Send a whole reply."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer_json(self, value: Any, status: int = 200, **headers: str) -> None:
        """Send a value as JSON."""
        self.answer(status, json.dumps(value).encode(), **headers)

    def answer_chat(self, content: str | None, **extra: Any) -> None:
        """Send a chat completion."""
        self.answer_json(chat_reply(content, **extra))

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test output clean."""


def drip_headers(handler: Handler) -> None:
    """One byte of a header at a time, for ever."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _ in range(200):
        handler.wfile.write(b"a")
        time.sleep(0.05)


def drip_body(handler: Handler) -> None:
    """One byte of a body at a time, for ever."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b" ")
        time.sleep(0.05)


def endless(handler: Handler) -> None:
    """A chunked body that never ends, as fast as it goes."""
    handler.protocol_version = "HTTP/1.1"
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    block = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
    for _ in range(100_000):
        handler.wfile.write(block)


def reset(handler: Handler) -> None:
    """Reset the connection instead of answering."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


FAULTS: dict[str, Callable[[Handler], None]] = {
    "401": lambda h: h.answer_json({"error": "no"}, 401),
    "429": lambda h: h.answer_json({"error": "slow down"}, 429),
    "500": lambda h: h.answer_json({"error": "broken"}, 500),
    "timeout": lambda h: time.sleep(2.0),
    "drip": drip_body,
    "header drip": drip_headers,
    "endless stream": endless,
    "garbage": lambda h: h.answer(200, b"\x00\xff<html>not json"),
    "garbage verdict": lambda h: h.answer_chat("The first one is better."),
    "wrong schema": lambda h: h.answer_chat(json.dumps({"winner": "first"})),
    "refusal": lambda h: h.answer_chat(None, message={"refusal": "I cannot help with that."}),
    "huge": lambda h: h.answer_chat(json.dumps({**GOOD, "reason": "x" * 600_000})),
    "empty": lambda h: h.answer(200, b""),
    "empty verdict": lambda h: h.answer_chat(""),
    "reset": reset,
    "redirect": lambda h: h.answer(307, b"", Location="/v1/elsewhere"),
    "no choices": lambda h: h.answer_json({"choices": []}),
    "deep": lambda h: h.answer(200, b"[" * 100_000),
    "compressed": lambda h: h.answer(200, b"\x1f\x8b", Content_Encoding="gzip"),
}


@contextmanager
def judge_endpoint(behave: Callable[[Handler], None]) -> Iterator[JudgeEndpoint]:
    """Serve on a free port of 127.0.0.1 until the block ends."""
    handler = type("ScriptedHandler", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.block_on_close = False
    port = server.server_address[1]
    endpoint = JudgeEndpoint(f"http://127.0.0.1:{port}/v1", port, behave)
    handler.endpoint = endpoint  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
