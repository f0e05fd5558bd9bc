"""Floods of connections: idle ones, waiting ones, those that come and go, those that say little."""

from __future__ import annotations

import asyncio
import time

from tenure_protocol.frames import encode_frame
from tenure_protocol.wire import pack
from tests.floods.stage import Stage
from tests.floods.wire import HELLO, Line, close_all, connect, hello, many

JOB = pack(["t", b"x" * 100, None, 0])
Told = dict[str, object]
"""What a flood tells of itself, beside what is measured of all of them."""


async def idle(stage: Stage) -> Told:
    """Connections that said hello, and nothing more."""
    begun_s = time.monotonic()
    before = stage.broker.rss_bytes
    lines = await many(stage.port, stage.scale.connections)
    took_s = time.monotonic() - begun_s
    each = (stage.broker.rss_bytes - before) / len(lines)
    await asyncio.sleep(stage.scale.seconds)
    await stage.served
    assert not any(line.closed.done() for line in lines), "an idle connection was cut"
    for line in lines[:: max(1, len(lines) // 50)]:
        await line.do("ping", [])
    files = stage.broker.files
    close_all(lines)
    return {"connected_s": round(took_s, 2), "bytes_each": round(each), "files": files}


async def _waiting(stage: Stage, queues: int) -> Told:
    count = stage.scale.connections
    lines = await many(stage.port, min(count, 1_000))
    names = [f"waited-{number % queues}" for number in range(count)]
    asked = [(lines[at % len(lines)], name) for at, name in enumerate(names)]
    waiting = [
        (line, name, line.post("reserve", [[name], 1, 3_600_000, 600_000])) for line, name in asked
    ]
    watcher = await hello(stage.port)
    while (await watcher.do("stats", {}))["waiting_reserves"] < count:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    await stage.served
    begun_s = time.monotonic()
    expected: dict[bytes, str] = {}
    for name in sorted(set(names)):
        jobs = names.count(name)
        for start in range(0, jobs, 1_000):
            ids, _ = await watcher.do("enqueue", [name, [JOB] * min(1_000, jobs - start)])
            expected |= dict.fromkeys(ids, name)
    got: dict[bytes, str] = {}
    for line, name, request in waiting:
        status, rows = await line.reply(request)
        assert status == 0, rows
        assert len(rows) == 1, f"a waiting reserve got {len(rows)} jobs"
        assert rows[0][2] == name, f"a job of {rows[0][2]} for one who waits for {name}"
        assert rows[0][0] not in got, "a job was given twice"
        got[rows[0][0]] = name
        line.post("ack", [[[rows[0][0], 1]]])
    took_s = time.monotonic() - begun_s
    assert got == expected, f"{len(expected)} jobs were enqueued, {len(got)} delivered"
    assert (await watcher.do("stats", {}))["waiting_reserves"] <= 4
    close_all([*lines, watcher])
    return {"served": len(got), "served_s": round(took_s, 2)}


async def waiting_for_one_queue(stage: Stage) -> Told:
    """Reserves that wait for one queue; then as many jobs as reserves: each gets one."""
    return await _waiting(stage, 1)


async def waiting_for_many_queues(stage: Stage) -> Told:
    """The same over a thousand queues."""
    return await _waiting(stage, 1_000)


async def storm(stage: Stage) -> Told:
    """Connections that come and go at once, half of them without a word."""
    until_s = time.monotonic() + stage.scale.seconds
    opened = 0

    async def come_and_go() -> None:
        nonlocal opened
        while stage.goes_on(until_s):
            line = await connect(stage.port)
            opened += 1
            if opened % 2:
                line.post("hello", HELLO)
            if opened % 3 == 0:
                await asyncio.sleep(0)
            line.transport.abort()

    await asyncio.gather(*(come_and_go() for _ in range(50)))
    await _gone(stage)
    return {"connections": opened}


async def _gone(stage: Stage) -> None:
    """Waits until the broker has let go of everybody but its neighbours and us."""
    watcher = await hello(stage.port)
    async with asyncio.timeout(60):
        while (await watcher.do("stats", {}))["connections"] > 8:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    watcher.transport.abort()


async def over_the_limit(stage: Stage) -> Told:
    """More connections than the broker takes: told so, or cut off; its descriptors are bounded."""
    limit = stage.scale.connections
    lines = await many(stage.port, limit)
    refused = [await connect(stage.port) for _ in range(700)]
    files = stage.broker.files
    await stage.served
    told = [await line.ended() for line in refused]
    codes = {words[0] for words in told if words is not None}
    assert codes <= {"TOO_MANY_CONNECTIONS"}, codes
    close_all([*lines, *refused])
    return {"told": sum(words is not None for words in told), "files": files}


async def drip_before_hello(stage: Stage) -> Told:
    """A byte now and then, and never a whole hello: cut off when the time for a hello is over."""
    return await _drip(stage, said_hello=False, code="HELLO_REQUIRED")


async def drip_after_hello(stage: Stage) -> Told:
    """The same within a request: cut off when the time for a frame is over."""
    return await _drip(stage, said_hello=True, code="MALFORMED_FRAME")


async def _drip(stage: Stage, *, said_hello: bool, code: str) -> Told:
    count = min(stage.scale.connections, 2_000)
    lines = await many(stage.port, count) if said_hello else await _strangers(stage.port, count)
    frame = encode_frame([99, "ping", [b"x" * 3_000]])
    begun_s = time.monotonic()

    async def drip(line: Line) -> str | None:
        for byte in frame:
            if line.closed.done():
                break
            line.transport.write(bytes((byte,)))
            await asyncio.sleep(min(1.0, stage.scale.seconds / 5))
        words = await line.ended()
        return None if words is None else str(words[0])

    codes = await asyncio.gather(*(drip(line) for line in lines))
    assert set(codes) == {code}, set(codes)
    return {"cut_off": len(codes), "within_s": round(time.monotonic() - begun_s, 1)}


async def _strangers(port: int, count: int) -> list[Line]:
    lines: list[Line] = []
    for start in range(0, count, 200):
        lines += await asyncio.gather(*(connect(port) for _ in range(min(200, count - start))))
    return lines
