"""Redis and Valkey through redis-py with hiredis: lists, a list with a script, streams."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from typing import Any

from bench.peers.contract import (
    BATCH_JOBS,
    HOST,
    QUEUE,
    WAIT_SECONDS,
    Driver,
    Target,
    chunks,
    library,
    take_in_batches,
)

GROUP = "workers"
WAIT_MS = int(1e3 * WAIT_SECONDS)
POLL_SECONDS = 0.001

MOVE_SCRIPT = """
local jobs = redis.call('LRANGE', KEYS[1], -ARGV[1], -1)
if #jobs > 0 then
  redis.call('LTRIM', KEYS[1], 0, -#jobs - 1)
  redis.call('RPUSH', KEYS[2], unpack(jobs))
end
return jobs
"""


class RedisList:
    """A list of bare payloads: no ids, no leases. What is being worked on is in another list."""

    def __init__(self, target: Target) -> None:
        self._redis: Any = library("redis").Redis(host=HOST, port=target.port)
        self._held = f"{QUEUE}:held:{target.role}-{os.getpid()}"

    async def connect(self) -> None:
        """A ping: lists need no making."""
        self._redis.ping()

    async def put(self, body: bytes) -> None:
        """LPUSH."""
        self._redis.lpush(QUEUE, body)

    async def put_many(self, bodies: Sequence[bytes]) -> None:
        """One LPUSH of all: one record in the log, one sync."""
        self._redis.lpush(QUEUE, *bodies)

    async def put_all(self, bodies: Iterator[bytes]) -> None:
        """LPUSH of a thousand, one after the other."""
        for chunk in chunks(bodies):
            await self.put_many(chunk)

    async def take(self) -> int:
        """BLMOVE to the list of held jobs, LREM from it."""
        body = self._redis.blmove(QUEUE, self._held, WAIT_SECONDS, "RIGHT", "LEFT")
        if body is None:
            return 0
        self._redis.lrem(self._held, 1, body)
        return 1

    async def take_many(self, count: int) -> int:
        """A pipeline of LMOVE, then one of LREM: each job can be acknowledged alone."""
        moves = self._redis.pipeline(transaction=False)
        for _ in range(count):
            moves.lmove(QUEUE, self._held, "RIGHT", "LEFT")
        bodies = [body for body in moves.execute() if body is not None]
        if not bodies:
            await asyncio.sleep(POLL_SECONDS)
            return 0
        acks = self._redis.pipeline(transaction=False)
        for body in bodies:
            # The oldest is at the tail, where a negative count begins to look.
            acks.lrem(self._held, -1, body)
        acks.execute()
        return len(bodies)

    async def take_all(self, count: int) -> int:
        """Batches of a thousand."""
        return await take_in_batches(self, count)

    async def close(self) -> None:
        """Hangs up."""
        self._redis.close()


class RedisScriptList(RedisList):
    """The same list, its batches moved by a script and acknowledged as a whole by one DEL."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._move: Any = self._redis.register_script(MOVE_SCRIPT)

    async def take_many(self, count: int) -> int:
        """The script, DEL."""
        bodies = self._move(keys=[QUEUE, self._held], args=[count])
        if not bodies:
            await asyncio.sleep(POLL_SECONDS)
            return 0
        self._redis.delete(self._held)
        return len(bodies)


class RedisStream:
    """A stream with one consumer group: ids, and a list of pending entries."""

    def __init__(self, target: Target) -> None:
        self._library = library("redis")
        self._redis: Any = self._library.Redis(host=HOST, port=target.port)
        self._consumer = f"{target.role}-{os.getpid()}"

    async def connect(self) -> None:
        """Makes stream and group."""
        try:
            self._redis.xgroup_create(QUEUE, GROUP, id="0", mkstream=True)
        except self._library.exceptions.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def put(self, body: bytes) -> None:
        """XADD."""
        self._redis.xadd(QUEUE, {"b": body})

    async def put_many(self, bodies: Sequence[bytes]) -> None:
        """A pipeline of XADD."""
        adds = self._redis.pipeline(transaction=False)
        for body in bodies:
            adds.xadd(QUEUE, {"b": body})
        adds.execute()

    async def put_all(self, bodies: Iterator[bytes]) -> None:
        """Pipelines of a thousand, one after the other."""
        for chunk in chunks(bodies):
            await self.put_many(chunk)

    async def take(self) -> int:
        """XREADGROUP of one entry, XACK and XDEL in one pipeline."""
        return await self.take_many(1)

    async def take_many(self, count: int) -> int:
        """The same with several entries."""
        reply: Any = self._redis.xreadgroup(
            GROUP, self._consumer, {QUEUE: ">"}, count=count, block=WAIT_MS
        )
        if not reply:
            return 0
        entries = (reply if isinstance(reply, list) else list(reply.items()))[0][1]
        if entries and isinstance(entries[0], list):
            entries = entries[0]
        ids = [entry[0] for entry in entries]
        acks = self._redis.pipeline(transaction=False)
        acks.xack(QUEUE, GROUP, *ids)
        acks.xdel(QUEUE, *ids)
        acks.execute()
        return len(ids)

    async def take_all(self, count: int) -> int:
        """Batches of a thousand."""
        return await take_in_batches(self, count, BATCH_JOBS)

    async def close(self) -> None:
        """Hangs up."""
        self._redis.close()


def open_driver(target: Target) -> Driver:
    """A client for the target's mode ("list", "list-script", "stream", with words behind)."""
    if target.mode.startswith("stream"):
        return RedisStream(target)
    return RedisScriptList(target) if target.mode.startswith("list-script") else RedisList(target)
