"""A circuit breaker per endpoint: after several failures in a row, leave it alone for a while, then try one call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class _Circuit:
    failures: int = 0
    open_until: float = 0.0


class CircuitBreaker:
    """Counts consecutive failures by endpoint, in this process. Safe to share between threads."""

    def __init__(self, threshold: int = 5, cooldown: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._threshold = threshold
        self._cooldown = cooldown
        self._clock = clock
        self._circuits: dict[str, _Circuit] = {}
        self._lock = threading.Lock()

    def allows(self, endpoint: str) -> bool:
        """Whether a call may start now. While the circuit is open, one caller per cooldown is let through to probe."""
        with self._lock:
            circuit = self._circuits.setdefault(endpoint, _Circuit())
            if circuit.failures < self._threshold:
                return True
            if self._clock() < circuit.open_until:
                return False
            circuit.open_until = self._clock() + self._cooldown
            return True

    def succeeded(self, endpoint: str) -> None:
        """The endpoint answered: close the circuit."""
        with self._lock:
            self._circuits[endpoint] = _Circuit()

    def failed(self, endpoint: str) -> None:
        """The endpoint did not answer, or answered that it is broken."""
        with self._lock:
            circuit = self._circuits.setdefault(endpoint, _Circuit())
            circuit.failures += 1
            if circuit.failures >= self._threshold:
                circuit.open_until = self._clock() + self._cooldown
