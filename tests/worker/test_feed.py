"""The feed does what `Consumption` decides, and gives up what is outstanding when it must."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tenure.core.call import Call
from tenure.core.command import Command
from tenure.errors import BadRequest, Draining, OutcomeUnknown, RequestTimeout, UnknownOperation
from tenure.info import ServerInfo
from tenure.worker.consumption import Consumption
from tenure.worker.feed import Feed


class FakeLink:
    """Calls wait until the test answers them."""

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

    @property
    def ops(self) -> list[str]:
        return [op for op, _ in self.calls]

    async def answer(self, answer: object) -> None:
        """Answer the last call, and let what waits for it run."""
        future = self.calls[-1][1].waiter
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
        for _ in range(3):
            await asyncio.sleep(0)


class Stage:
    def __init__(self) -> None:
        self.link = FakeLink()
        self.took: list[tuple[str, int, bool]] = []
        self.syncs = 0
        self.consumption = Consumption(["main"])
        self.consumption.set_free("main", 3)
        self.feed = Feed(
            self.link,
            self.consumption,
            leases=lambda: [[b"x", 1]],
            took=lambda pool, rows, run: self.took.append((pool, len(rows), run)),
            changed=lambda: None,
            synced=self._synced,
        )
        self.feed.queues = {"main": ["work"]}

    def _synced(self) -> None:
        self.syncs += 1

    async def reserving(self) -> Stage:
        self.feed.turn(0)
        self.feed.connection(True)
        await self.link.answer(0)
        self.feed.turn(0)
        assert self.link.ops == ["keep", "reserve"]
        return self


async def test_leases_are_told_first_and_then_jobs_come() -> None:
    stage = await Stage().reserving()
    assert stage.syncs == 1
    await stage.link.answer([["row"], ["row"]])
    assert stage.took == [("main", 2, True)]
    stage.feed.turn(0)
    assert stage.link.ops[-1] == "reserve"


async def test_a_reserve_that_was_sent_just_before_the_connection_broke_is_given_up() -> None:
    """Else it would be sent on the next connection, and bring jobs that nobody takes."""
    stage = await Stage().reserving()
    stage.feed.connection(False)  # before the task that waits for it took its first step
    await asyncio.sleep(0)
    assert [call.command.op for call in stage.link.abandoned] == ["reserve"]
    stage.feed.turn(10**12)
    assert stage.link.ops == ["keep", "reserve", "keep"]


async def test_what_is_outstanding_is_given_up_when_the_worker_ends() -> None:
    stage = await Stage().reserving()
    await asyncio.sleep(0)
    stage.feed.drop()
    await asyncio.sleep(0)
    assert [call.command.op for call in stage.link.abandoned] == ["reserve"]
    assert stage.took == []


async def test_jobs_that_come_to_a_quiet_worker_are_not_to_run() -> None:
    stage = await Stage().reserving()
    stage.consumption.quiet = True
    await stage.link.answer([["row"]])
    assert stage.took == [("main", 1, False)]


@pytest.mark.parametrize("error", [RequestTimeout("late"), OutcomeUnknown("gone")])
async def test_a_reserve_without_an_answer_is_followed_by_keep(error: Exception) -> None:
    stage = await Stage().reserving()
    await stage.link.answer(error)
    assert stage.feed.trouble == str(error)
    stage.feed.turn(10**9)
    assert stage.link.ops == ["keep", "reserve", "keep"]


@pytest.mark.parametrize("error", [Draining("stopping"), BadRequest("no such thing")])
async def test_a_refusal_is_told_and_tried_again_later(error: Exception) -> None:
    stage = await Stage().reserving()
    await stage.link.answer(error)
    assert stage.consumption.trouble == str(error)
    stage.feed.turn(0)
    assert stage.link.ops == ["keep", "reserve"]
    stage.feed.turn(10**12)
    assert stage.link.ops == ["keep", "reserve", "reserve"]


async def test_an_older_broker_that_does_not_know_keep_is_worked_with() -> None:
    stage = Stage()
    stage.feed.turn(0)
    await stage.link.answer(UnknownOperation("keep"))
    stage.feed.turn(0)
    assert stage.link.ops == ["keep", "reserve"]


async def test_a_keep_that_fails_is_tried_again() -> None:
    stage = Stage()
    stage.feed.turn(0)
    await stage.link.answer(RequestTimeout("late"))
    stage.feed.turn(10**12)
    assert stage.link.ops == ["keep", "keep"]


async def test_a_worker_gives_up_the_reserves_of_all_pools_before_it_says_which_leases_it_knows() -> (
    None
):
    link, consumption = FakeLink(), Consumption(["one", "other"])
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
    assert link.ops == ["keep", "reserve", "reserve"]

    link.calls[1][1].waiter.set_exception(RequestTimeout("no answer"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    feed.turn(2**40)

    assert link.calls[2][1] in link.abandoned, "what it is being given would be given to others too"
    assert link.ops[3:] == ["keep"]
