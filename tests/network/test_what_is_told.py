"""What a client tells of many requests when the network leaves some of them open."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tenure import NewJob, QueueFull, Reconnect, RequestTimeout
from tenure.core.call import Call
from tenure.core.command import Command
from tenure.info import ServerInfo
from tenure.worker.consumption import Consumption
from tenure.worker.feed import Feed
from tests.client.both import CONNECTORS
from tests.client.fake_broker import FakeBroker, Peer

QUICK = Reconnect(base_ms=1, cap_ms=5)


@pytest.mark.parametrize("kind", sorted(CONNECTORS))
def test_a_refused_chunk_does_not_hide_that_the_end_of_another_is_unknown(kind: str) -> None:
    def refuses_one_and_is_silent_on_the_other(peer: Peer) -> None:
        peer.hello()
        peer.reply(peer.expect("ping"), {"now_ms": 0})
        peer.refuse(peer.expect("enqueue"), QueueFull("full"))
        peer.until_gone()

    with (
        FakeBroker(refuses_one_and_is_silent_on_the_other) as broker,
        CONNECTORS[kind](broker.url, timeout="300ms", reconnect=QUICK) as client,
        pytest.raises(RequestTimeout),
    ):
        client.enqueue_many("mail", [NewJob("one"), NewJob("other")], chunk_jobs=1)


class SilentLink:
    """Takes every request, and answers when the test does."""

    server: ServerInfo | None = None

    def __init__(self) -> None:
        self.calls: list[tuple[str, Call]] = []
        self.abandoned: list[Call] = []

    def submit(self, command: Command[Any]) -> Call:
        call = Call(len(self.calls), command, 0, 0, asyncio.get_running_loop().create_future())
        self.calls.append((command.op, call))
        return call

    async def wait(self, call: Call, command: Command[Any]) -> Any:
        return await call.waiter

    async def call(self, command: Command[Any]) -> Any:
        return await self.wait(self.submit(command), command)

    def abandon(self, call: Call) -> None:
        self.abandoned.append(call)


async def test_a_worker_gives_up_the_reserves_of_all_pools_before_it_says_which_leases_it_knows() -> (
    None
):
    link, consumption = SilentLink(), Consumption(["one", "other"])
    feed = Feed(
        link, consumption, leases=list, took=lambda *_: None,
        changed=lambda: None, synced=lambda: None,
    )  # fmt: skip
    feed.queues = {"one": ["a"], "other": ["b"]}
    for name in feed.queues:
        consumption.set_free(name, 1)
    feed.turn(0)
    feed.connection(True)
    link.calls[0][1].waiter.set_result(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    feed.turn(0)
    assert [op for op, _ in link.calls] == ["keep", "reserve", "reserve"]

    link.calls[1][1].waiter.set_exception(RequestTimeout("no answer"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    feed.turn(2**40)

    assert link.calls[2][1] in link.abandoned, "what it is being given would be given to others too"
    assert [op for op, _ in link.calls][3:] == ["keep"]
