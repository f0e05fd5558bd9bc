"""A broker that stood still reads what its clients sent meanwhile before it ends their leases."""

from __future__ import annotations

from tests.server.support import body, running


async def test_a_lease_extended_while_the_broker_stood_still_is_kept() -> None:
    async with running() as broker:
        worker, other = await broker.hello(), await broker.hello()
        await worker.do("enqueue", ["q", [body()]])
        [[job_id, attempt, *_]] = await worker.do("reserve", [["q"], 1, 0, 60_000])

        broker.advance(61_000)
        # The turn that finds the lease over comes before the extend is read.
        await other.do("ping", [])
        assert await worker.do("extend", [[[job_id, attempt, 60_000]]]) == [0]

        broker.advance(1_000)
        await broker.until(lambda: not broker.hub.pump.busy)
        assert await worker.do("ack", [[[job_id, attempt]]]) == [0]


async def test_a_lease_that_nobody_extends_ends_soon_after_a_standstill() -> None:
    async with running() as broker:
        worker = await broker.hello()
        await worker.do("enqueue", ["q", [body()]])
        [[job_id, attempt, *_]] = await worker.do("reserve", [["q"], 1, 0, 60_000])

        broker.advance(61_000)
        await broker.until(lambda: broker.hub.engine.lease_count == 0)
        [refusal] = await worker.do("ack", [[[job_id, attempt]]])
        assert refusal[:2] == [1, "LEASE_LOST"]


async def test_time_that_passes_evenly_is_never_late() -> None:
    async with running() as broker:
        worker = await broker.hello()
        await worker.do("enqueue", ["q", [body()]])
        await worker.do("reserve", [["q"], 1, 0, 1_000])
        for _ in range(11):
            broker.advance(100)
            await broker.until(lambda: not broker.hub.pump.busy)
        assert broker.hub.engine.lease_count == 0
