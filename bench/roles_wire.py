"""Client processes that send frames made in advance: next to no work on their side.

The client library and the broker share the machine's cores and the clock; these roles show
what the broker alone would do.
"""

from __future__ import annotations

import os
import time
from collections import deque

from bench.load import Order, Outcome, Ready, Role, payloads
from bench.roles_sync import TASK
from bench.wire import Wire, wire_to
from tenure_protocol.body import RAW, encode_body

WAIT_MS = 500


def wire_enqueue(order: Order, ready: Ready) -> Outcome:
    """Requests of `chunk` jobs, `in_flight` of them unanswered at a time."""
    bodies = [encode_body(TASK, body, None, RAW) for body in payloads(order.jobs)]
    with wire_to(order.host, order.port) as wire:
        frames = _enqueue_frames(wire, order, bodies)
        sent_at: dict[int, float] = {}
        took: list[float] = []
        ready()
        outcome = Outcome(begin=time.monotonic())
        while frames or sent_at:
            room = min(order.in_flight - len(sent_at), len(frames))
            if room:
                burst = [frames.popleft() for _ in range(room)]
                sent_at.update(dict.fromkeys((number for number, _ in burst), time.perf_counter()))
                wire.send(b"".join(frame for _, frame in burst))
            number, (ids, _) = wire.reply()
            took.append((time.perf_counter() - sent_at.pop(number)) * 1e6)
            outcome.done += len(ids)
        outcome.end = time.monotonic()
    outcome.latencies_us["enqueue"] = took
    return outcome


def _enqueue_frames(wire: Wire, order: Order, bodies: list[bytes]) -> deque[tuple[int, bytes]]:
    producer = os.urandom(16)
    starts = range(0, len(bodies), order.chunk)
    return deque(
        wire.frame(
            "enqueue", [order.queue, bodies[start : start + order.chunk], producer, sequence]
        )
        for sequence, start in enumerate(starts, 1)
    )


def wire_consume(order: Order, ready: Ready) -> Outcome:
    """Reserves of `chunk` jobs, the next one on its way while the last ones are acked."""
    with wire_to(order.host, order.port) as wire:
        args = [[order.queue], order.chunk, WAIT_MS]
        acks: set[int] = set()
        waiting = 0
        ready()
        outcome = Outcome(begin=time.monotonic())
        for _ in range(order.in_flight):
            wire.send(wire.frame("reserve", args)[1])
            waiting += 1
        while waiting:
            number, items = wire.reply()
            waiting -= 1
            if number in acks:
                acks.remove(number)
                outcome.done += sum(1 for item in items if item == 0)
                outcome.end = time.monotonic()
            elif items:
                ack_number, ack = wire.frame("ack", [[[job[0], job[1]] for job in items]])
                acks.add(ack_number)
                wire.send(ack + wire.frame("reserve", args)[1])
                waiting += 2
    return outcome


WIRE_ROLES: dict[str, Role] = {"wire-enqueue": wire_enqueue, "wire-consume": wire_consume}
