"""Floods of bytes and requests: huge frames, announced ones, refused requests, replies unread."""

from __future__ import annotations

import asyncio
import time

from tenure_protocol.frames import encode_frame
from tenure_protocol.limits import CHECKPOINT_BYTES_MAX, WORKER_INFO_BYTES_MAX
from tenure_protocol.wire import pack
from tests.floods.connecting import JOB, Told
from tests.floods.stage import MIB, Stage
from tests.floods.wire import Line, close_all, connect, hello, many

PIPELINED = 400


async def never_reads(stage: Stage) -> Told:
    """Clients that ask for much, again and again, and read nothing: their memory is bounded."""
    filler = await hello(stage.port)
    body = pack(["t", b"x" * 8_000, None, 0])
    await filler.do("enqueue", ["unread", [body] * 100])
    lines = await many(stage.port, min(40, stage.scale.connections))
    for line in lines:
        line.transport.pause_reading()
        frames = [
            line.frame("peek", {"queue": "unread", "state": "ready"})[1] for _ in range(PIPELINED)
        ]
        line.transport.write(b"".join(frames))
    until_s = time.monotonic() + max(1.0, stage.scale.seconds)
    while stage.goes_on(until_s):
        _ = stage.broker.rss_bytes
        await filler.do("ping", [])
        await asyncio.sleep(0.1)
    # Whoever takes nothing is cut off in the end; here the rest is.
    close_all(lines)
    await filler.do("queue.delete", {"queue": "unread", "force": True})
    filler.transport.abort()
    return {"clients": len(lines), "asked_mb": round(len(lines) * PIPELINED * 0.8)}


async def refused_requests(stage: Stage) -> Told:
    """Requests that are all refused, as fast as they are read."""
    lines = await many(stage.port, 10)
    until_s = time.monotonic() + stage.scale.seconds
    refused = 0

    async def ask(line: Line) -> None:
        nonlocal refused
        while stage.goes_on(until_s):
            asked = [line.post("enqueue", ["Q!", [JOB]]) for _ in range(100)]
            asked += [line.post("levitate", None) for _ in range(100)]
            asked += [line.post("ack", [[[bytes(16), 1]] * 20]) for _ in range(20)]
            for request in asked[:200]:
                status, error = await line.reply(request)
                assert (status, error[0] in ("BAD_REQUEST", "UNKNOWN_OPERATION")) == (1, True), (
                    error
                )
            refused += 200
            for request in asked[200:]:
                status, outcomes = await line.reply(request)
                assert {outcome[1] for outcome in outcomes} == {"LEASE_LOST"}

    await asyncio.gather(*map(ask, lines))
    close_all(lines)
    return {"refused": refused}


async def huge_frames(stage: Stage) -> Told:
    """Frames as long as they may be, many at a time; and one byte longer: refused."""
    most = stage.scale.big_bytes
    lines = await many(stage.port, 12)
    overhead = len(pack([1, "ping", [b""]])) + 3
    frame_args = [b"x" * (most - overhead - 2)]
    until_s = time.monotonic() + stage.scale.seconds
    sent = 0
    cut: list[Line] = []

    async def send(line: Line) -> None:
        nonlocal sent
        while True:
            try:
                await line.do("ping", frame_args)
            except ConnectionResetError:
                # The broker gives a frame half a minute, which a busy machine may not.
                cut.append(line)
                assert line.fatal is not None
                assert line.fatal[0] == "MALFORMED_FRAME", line.fatal
                return
            sent += 1
            if not stage.goes_on(until_s):
                return

    await asyncio.gather(*map(send, lines))
    # Half of each, from all of them: what is unfinished is bounded all together.
    half = encode_frame([1 << 20, "ping", frame_args])[: most // 2]
    for line in lines:
        if line not in cut:
            line.transport.write(half)
    await asyncio.sleep(0.2)
    _ = stage.broker.rss_bytes
    close_all(lines)
    longer = await hello(stage.port)
    longer.transport.write((most + 1).to_bytes(4, "big"))
    words = await longer.ended()
    assert words is not None
    assert words[0] == "FRAME_TOO_LARGE", words
    return {"frames": sent, "cut_off": len(cut), "mb": round(sent * most / 1e6)}


async def announced_frames(stage: Stage) -> Told:
    """A thousand connections that announce a frame of four gibibytes."""
    count = 1_000
    codes: list[str] = []
    for start in range(0, count, 200):
        lines = await asyncio.gather(*(connect(stage.port) for _ in range(200)))
        for at, line in enumerate(lines):
            line.transport.write(b"\xff\xff\xff\xff" + b"x" * (1_000 if (start + at) % 2 else 0))
        for line in lines:
            words = await line.ended()
            codes.append("" if words is None else words[0])
        _ = stage.broker.rss_bytes
    assert set(codes) == {"FRAME_TOO_LARGE"}, set(codes)
    return {"refused": len(codes)}


async def registry(stage: Stage) -> Told:
    """Workers that tell as much of themselves as they may; others that tell what workers tell."""
    much = {"note": "x" * (WORKER_INFO_BYTES_MAX - 40)}
    lines = await many(stage.port, stage.scale.connections)
    taken = refused = 0
    for start in range(0, len(lines), 100):
        part = lines[start : start + 100]
        for op in ("worker.register", "worker.beat"):
            for status, content in await asyncio.gather(*(line.ask(op, much) for line in part)):
                if status == 0:
                    taken += 1
                else:
                    assert content[0] in ("TOO_MANY_WORKERS", "WORKER_NOT_FOUND"), content
                    refused += 1
        _ = stage.broker.rss_bytes
    modest = await hello(stage.port)
    await modest.do("worker.register", {"name": "modest", "host": "h", "pid": 1, "queues": ["q"]})
    await modest.do(
        "worker.beat",
        {"state": "consuming", "busy": 1, "jobs": [[bytes(16), 1, "t", "q", 1, "p"]] * 20},
    )
    assert (await modest.do("worker.get", {"worker": "modest"}))["state"] == "consuming"
    listed = await modest.do("worker.list", {})
    await stage.served
    close_all([*lines, modest])
    return {"taken": taken, "refused": refused, "listed": len(listed["workers"])}


async def questions(stage: Stage) -> Told:
    """Everybody asks a worker, who never answers, for its stacks; then all of them leave."""
    worker = await hello(stage.port)
    name = (await worker.do("worker.register", {"name": "silent"}))["worker"]
    lines = await many(stage.port, min(stage.scale.connections, 500))
    for line in lines:
        for _ in range(100):
            line.post("worker.stacks", {"worker": name, "timeout_ms": 3_600_000})
    for line in lines:
        await line.do("ping", [])
    refused = sum(status for line in lines for status, _ in line.replies.values())
    begun_s = time.monotonic()
    close_all(lines)
    await worker.do("ping", [])
    worker.transport.abort()
    return {
        "asked": 100 * len(lines),
        "refused": refused,
        "left_s": round(time.monotonic() - begun_s, 2),
    }


async def results_and_notes(stage: Stage) -> Told:
    """Jobs that note checkpoints and end with results, all as large as they may be."""
    line = await hello(stage.port)
    await line.do("queue.create", {"queue": "large", "settings": {"retention_ms": 60_000}})
    until_s = time.monotonic() + stage.scale.seconds
    rounds = 0
    while not rounds or stage.goes_on(until_s):
        await line.do("enqueue", ["large", [JOB] * 8])
        rows = await line.do("reserve", [["large"], 8, 0, 600_000])
        assert len(rows) == 8
        note = {"checkpoint": b"c" * CHECKPOINT_BYTES_MAX, "log": ["l" * 1_000] * 20}
        assert await line.do("note", [[[row[0], 1, note] for row in rows]]) == [0] * 8
        for row in rows:
            assert await line.do("ack", [[[row[0], 1, b"r" * (MIB - 1_000)]]]) == [0]
        rounds += 1
        _ = stage.broker.rss_bytes
    await line.do("queue.delete", {"queue": "large", "force": True})
    line.transport.abort()
    return {"jobs": 8 * rounds}
