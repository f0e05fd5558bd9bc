"""Section A: how fast jobs go in and out, one at a time, in batches, and in a crowd."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.peers.catalog import Peer
from bench.peers.clients import order_for
from bench.peers.load import Order
from bench.peers.sizes import Sizes
from bench.peers.stage import Phase, Stage, awake, servers_of
from bench.peers.supervision import Server

SECTION = "A"

ROWS = {
    "A1": "enqueue one by one",
    "A3a": "reserve + ack one by one",
    "A2": "enqueue, best batching",
    "A3b": "reserve + ack, best batching",
    "A4": "8 producers + 8 consumers, one by one",
    "A4b": "8 producers + 8 consumers, batches of 100",
}
"""In this order: each take finds what the put before it has left."""

Filled = dict[str, int]
"""Jobs that wait at a peer, by its label."""


def measure(stage: Stage, peers: Sequence[Peer], rows: Sequence[str]) -> None:
    """One round: row after row, and in each row peer after peer."""
    filled: Filled = {}
    chosen = [row for row in ROWS if row in with_their_puts(rows)]
    with servers_of(stage, peers, SECTION) as servers:
        for row in chosen:
            for peer in peers:
                if row in peer.rows and peer.label not in stage.failed:
                    with (
                        stage.attempt(peer, SECTION, row),
                        awake(servers[peer.label]) as server,
                    ):
                        _turn(stage, peer, server, row, filled)


def with_their_puts(rows: Sequence[str]) -> set[str]:
    """A take needs what its put leaves, so that row is measured too."""
    puts = {"A3a": "A1", "A3b": "A2"}
    return {*rows, *(puts[row] for row in rows if row in puts)}


def _turn(stage: Stage, peer: Peer, server: Server, row: str, filled: Filled) -> None:
    order = _ORDERS[row](peer, server.port, stage.sizes, filled.get(peer.label, 0))
    phase = stage.run(peer, server, order)
    _check(order, phase)
    extra = phase.extra()
    if order.role.startswith("put"):
        filled[peer.label] = phase.outcome.done
    if order.role == "crowd":
        extra["enqueued/s"] = phase.outcome.made / phase.seconds
    stage.row(peer, SECTION, row, phase.outcome.done / phase.seconds, "jobs/s", **extra)


def _check(order: Order, phase: Phase) -> None:
    done = phase.outcome.done
    if order.role.startswith("take") and done != order.jobs:
        raise AssertionError(f"{done} jobs were taken instead of {order.jobs}")


def _put_one(peer: Peer, port: int, sizes: Sizes, _filled: int) -> Order:
    return order_for(peer, port, "put-one", jobs=sizes.one_jobs, seconds=sizes.one_seconds)


def _take_one(peer: Peer, port: int, _sizes: Sizes, filled: int) -> Order:
    return order_for(peer, port, "take-one", jobs=filled)


def _put_all(peer: Peer, port: int, sizes: Sizes, _filled: int) -> Order:
    return order_for(peer, port, "put-all", jobs=sizes.many_jobs, seconds=sizes.many_seconds)


def _take_all(peer: Peer, port: int, _sizes: Sizes, filled: int) -> Order:
    return order_for(peer, port, "take-all", jobs=filled)


def _crowd(peer: Peer, port: int, sizes: Sizes, _filled: int) -> Order:
    return order_for(peer, port, "crowd", crowd=sizes.crowd, seconds=sizes.crowd_seconds)


def _crowd_batches(peer: Peer, port: int, sizes: Sizes, _filled: int) -> Order:
    seconds, batch = sizes.crowd_batch_seconds, sizes.crowd_batch
    return order_for(peer, port, "crowd", crowd=sizes.crowd, seconds=seconds, batch=batch)


_ORDERS: dict[str, Callable[[Peer, int, Sizes, int], Order]] = {
    "A1": _put_one,
    "A3a": _take_one,
    "A2": _put_all,
    "A3b": _take_all,
    "A4": _crowd,
    "A4b": _crowd_batches,
}
