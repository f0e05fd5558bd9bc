"""A lease lasts its time by the broker's own clock, which knows whole milliseconds only."""

from __future__ import annotations

from tenure_server.engine import Now
from tests.server.support import body, running


async def test_a_lease_that_began_late_in_its_millisecond_is_not_cut_short() -> None:
    async with running() as broker:
        wire = await broker.hello()
        await wire.do("enqueue", ["q", [body()]])
        now = broker.hub.clock()
        broker.hub.clock = lambda: now
        assert len(await wire.do("reserve", [["q"], 1, 0, 100])) == 1

        # A hundred ticks of the clock later not quite a hundred milliseconds may have passed.
        now = Now(now.wall_ms + 100, now.mono_ms + 100)
        assert await wire.do("reserve", [["q"], 1, 0]) == []
        assert broker.hub.engine.lease_count == 1

        now = Now(now.wall_ms + 1, now.mono_ms + 1)
        await broker.until(lambda: broker.hub.engine.lease_count == 0)
