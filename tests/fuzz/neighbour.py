"""The well-behaved client beside the fuzzed ones: whatever they do, its jobs are all right."""

from __future__ import annotations

from typing import Any

from tenure_protocol.wire import pack
from tests.fuzz.peer import Peer
from tests.fuzz.requests import Known
from tests.fuzz.world import Fault, Room

QUEUE = "neighbour.of.all.the.others"


class Neighbour:
    """Enqueues, reserves and acks, and looks closely at every answer."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._peer = Peer(room, Known())
        self._rounds = 0
        self._do("hello", {"protocol": [1, 1], "client": "neighbour"})
        self._do("queue.create", {"queue": QUEUE})

    def _do(self, op: str, args: Any) -> Any:
        peer = self._peer
        peer.last = None
        request_id = peer.say(op, args)
        self._room.settle()
        peer.hear()
        if peer.closed or peer.owed[request_id]:
            raise Fault(f"the neighbour's {op} got no answer: {peer.fatal}")
        if peer.refused:
            raise Fault(f"the neighbour was refused: {peer.last!r}")
        return peer.last

    def live(self) -> None:
        """One job from its enqueue to its end, and nothing else in its queue."""
        self._rounds += 1
        if self._room.hub.engine.draining:
            self._do("drain", {"off": True})
        body = pack(["t", self._rounds.to_bytes(4, "big"), None, 0])
        (job,), existing = self._do("enqueue", [QUEUE, [body]])
        if existing is not None:
            raise Fault("a job of the neighbour existed before it was enqueued")
        rows = self._do("reserve", [[QUEUE], 9, 0, 60_000])
        if [(row[0], row[1], row[2], row[5]) for row in rows] != [(job, 1, QUEUE, body)]:
            raise Fault(f"the neighbour enqueued {job.hex()} and got {rows!r:.300}")
        if self._do("ack", [[[job, 1]]]) != [0]:
            raise Fault(f"the neighbour's ack: {self._peer.last!r}")
        info = self._do("queue.get", {"queue": QUEUE})
        if info["jobs"] or info["totals"]["succeeded"] < 1 or any(info["counts"].values()):
            raise Fault(f"the neighbour's queue holds {info['counts']!r}")
