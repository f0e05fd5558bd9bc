"""One client process: `python -m bench.load ORDER`, where ORDER is an `Order` as JSON.

It prepares, prints one line to say that it is ready, waits for a line on stdin, does its
work, and prints the `Outcome` as JSON. All clocks are CLOCK_MONOTONIC, which every process
of the machine shares, so the parent can compare the moments of several.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice

from bench.stats import percentile

PAYLOAD_BYTES = 100

IDLE_GAP_SECONDS = (0.004, 0.012)
"""Between two jobs of the idle-latency row: long enough for the worker to wait again."""

_NOISE_BYTES = 64 * 1024
_STRIDE = 7919  # prime, so that neighbours begin at unrelated places of the noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What one client process shall do. Fields that a role does not use are ignored."""

    role: str
    host: str
    port: int
    queue: str
    jobs: int = 0
    chunk: int = 1
    in_flight: int = 1
    connections: int = 1
    seconds: float = 0.0
    counters: str = ""
    slot: int = 0
    task: str = ""
    moments: str = ""

    @property
    def url(self) -> str:
        """The broker."""
        return f"tenure://{self.host}:{self.port}"


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What it did, between `begin` and `end` (seconds, monotonic).

    Latencies in us by name: every sample while the role runs; `main` leaves p50 and p99.
    """

    begin: float = 0.0
    end: float = 0.0
    done: int = 0
    cpu_seconds: float = 0.0
    latencies_us: dict[str, list[float]] = field(default_factory=dict)


Ready = Callable[[], None]
"""Called by a role when it has prepared; returns when the parent says go."""

Role = Callable[[Order, Ready], Outcome]


def payloads(count: int) -> list[bytes]:
    """Different payloads of 100 bytes that do not compress."""
    return list(islice(endless_payloads(), count))


def endless_payloads() -> Iterator[bytes]:
    """Different payloads of 100 bytes that do not compress, without end."""
    number_bytes = 10
    noise = os.urandom(_NOISE_BYTES)
    room = _NOISE_BYTES - PAYLOAD_BYTES
    number = 0
    while True:
        start = number * _STRIDE % room
        yield b"%010d" % number + noise[start : start + PAYLOAD_BYTES - number_bytes]
        number += 1


def main() -> None:
    """Runs the order of the command line."""
    # Imported here: each brings a client library, and the roles import this module.
    from bench.roles_async import ASYNC_ROLES
    from bench.roles_sync import SYNC_ROLES
    from bench.roles_tasks import TASK_ROLES
    from bench.roles_wire import WIRE_ROLES

    order = Order(**json.loads(sys.argv[1]))
    roles: dict[str, Role] = {**SYNC_ROLES, **ASYNC_ROLES, **WIRE_ROLES, **TASK_ROLES}
    cpu_begin = 0.0

    def ready() -> None:
        nonlocal cpu_begin
        print("ready", flush=True)
        if not sys.stdin.readline():
            raise SystemExit("the bench went away")
        cpu_begin = time.process_time()

    outcome = roles[order.role](order, ready)
    outcome.cpu_seconds = time.process_time() - cpu_begin
    for name, samples in outcome.latencies_us.items():
        outcome.latencies_us[name] = [percentile(samples, share) for share in (0.5, 0.99)]
    print(json.dumps(asdict(outcome)), flush=True)


if __name__ == "__main__":
    main()
