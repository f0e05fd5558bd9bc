"""One connection through the proxy: two streams of frames, delayed, cut into pieces, ended.

Frames are taken in whole and given out as the weather says, so that a connection can be cut
at an exact point of a request's life. What is on its way when a connection is cut is lost.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, NamedTuple, NoReturn

from tests.network.weather import FAIR, Cut, Lane, Weather

Ending = Literal["reset", "close", "eof"]

_READ_BYTES = 64 * 1024
_QUEUE_BYTES_MAX = 256 * 1024
_HEADER_BYTES = 4
_PIECES_PER_S = 50
_INT_BYTES = {0xCC: 1, 0xCD: 2, 0xCE: 4}


class Ended(Exception):
    """The connection is to end, in this way."""

    def __init__(self, how: Ending) -> None:
        super().__init__(how)
        self.how: Ending = how


class Sky:
    """The weather of all connections, the chance that decides, and the count of what was done."""

    def __init__(self, seed: int) -> None:
        self.weather: Weather = FAIR
        self.random = random.Random(seed)
        self.faults: Counter[str] = Counter()
        self.next_cuts: deque[Cut] = deque()
        """What the next requests meet, whatever the weather."""
        self._changed = asyncio.Event()

    def change(self, weather: Weather) -> None:
        """Another weather, for connections old and new."""
        self.weather = weather
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a weather in which `condition` holds."""
        while not condition():
            await self._changed.wait()


class _Item(NamedTuple):
    due_s: float
    data: bytes
    end: Ending | None


def frame_id(frame: bytes) -> int:
    """The request id of a whole frame."""
    mark = frame[_HEADER_BYTES + 1]
    if mark < 0x80:
        return mark
    start = _HEADER_BYTES + 2
    return int.from_bytes(frame[start : start + _INT_BYTES[mark]], "big")


class Stream:
    """One direction of a connection: what was read and waits to be written."""

    def __init__(
        self, sky: Sky, lane: Callable[[], Lane], source: socket.socket, sink: socket.socket
    ) -> None:
        self.sky = sky
        self.lane = lane
        self._source = source
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._items: deque[_Item] = deque()
        self._bytes = 0
        self._moved = asyncio.Event()
        self._last_due_s = 0.0

    async def read(self, take: Callable[[bytes], None]) -> None:
        """Read until the end, and call `take` with every whole frame."""
        buffer = bytearray()
        while True:
            try:
                data = await self._loop.sock_recv(self._source, _READ_BYTES)
            except OSError:
                self.put(b"", "reset")
                return
            if not data:
                self.put(bytes(buffer), "eof")
                return
            buffer += data
            while len(buffer) >= _HEADER_BYTES:
                size = _HEADER_BYTES + int.from_bytes(buffer[:_HEADER_BYTES], "big")
                if len(buffer) < size:
                    break
                frame = bytes(buffer[:size])
                del buffer[:size]
                take(frame)
            while self._bytes > _QUEUE_BYTES_MAX:
                await self._wait()

    def put(self, data: bytes, end: Ending | None = None) -> None:
        """Let `data` arrive when its time has come, then an end if there is one."""
        lane = self.lane()
        due_s = self._loop.time() + lane.delay_s + self.sky.random.uniform(0, lane.jitter_s)
        self._last_due_s = due_s = max(due_s, self._last_due_s)
        self._items.append(_Item(due_s, data, end))
        self._bytes += len(data)
        self._moved.set()

    async def write(self) -> None:
        """Write what arrives, as the lane lets it. Ends with the source's end."""
        while True:
            while not self._items:
                await self._wait()
            await asyncio.sleep(max(0.0, self._items[0].due_s - self._loop.time()))
            await self.sky.until(lambda: not self.lane().stalled)
            if self.lane().merge_s:
                await asyncio.sleep(self.lane().merge_s)
            item = self._pop()
            await self._send(self._flipped(item.data))
            if item.end == "eof":
                with suppress(OSError):
                    self._sink.shutdown(socket.SHUT_WR)
                return
            if item.end is not None:
                raise Ended(item.end)

    def _pop(self) -> _Item:
        item = self._items.popleft()
        while self.lane().merge_s and item.end is None and self._items:
            following = self._items.popleft()
            item = following._replace(data=item.data + following.data)
            self.sky.faults["frames merged"] += 1
        self._bytes -= len(item.data)
        self._moved.set()
        return item

    def _flipped(self, data: bytes) -> bytes:
        chance = self.sky.random
        if not data or chance.random() >= self.lane().flips:
            return data
        self.sky.faults["bytes changed"] += 1
        changed = bytearray(data)
        changed[chance.randrange(len(changed))] ^= chance.randrange(1, 256)
        return bytes(changed)

    async def _send(self, data: bytes) -> None:
        lane = self.lane()
        if lane.piece_bytes or lane.bytes_per_s:
            self.sky.faults["frames in pieces"] += 1
        while data:
            lane = self.lane()
            size = len(data)
            if lane.bytes_per_s:
                size = max(1, lane.bytes_per_s // _PIECES_PER_S)
            if lane.piece_bytes:
                size = min(size, lane.piece_bytes)
            await self.sky.until(lambda: not self.lane().stalled)
            await self._loop.sock_sendall(self._sink, data[:size])
            if lane.bytes_per_s:
                await asyncio.sleep(min(size, len(data)) / lane.bytes_per_s)
            elif size < len(data):
                await asyncio.sleep(0)
            data = data[size:]

    async def _wait(self) -> None:
        self._moved.clear()
        await self._moved.wait()


class Conduit:
    """A client's connection and the one to the broker behind it."""

    def __init__(self, sky: Sky, near: socket.socket, far: socket.socket) -> None:
        self._sky = sky
        self._near = near
        self._far = far
        self._up = Stream(sky, lambda: sky.weather.up, near, far)
        self._down = Stream(sky, lambda: sky.weather.down, far, near)
        self._silent = asyncio.Event()
        self._lose: tuple[int, bool] | None = None
        self._how: Ending = "reset"
        self._task: asyncio.Task[None] | None = None

    @property
    def silent(self) -> bool:
        """Whether it is half-open: nothing passes any more, and neither side knows."""
        return self._silent.is_set()

    def cut(self, how: Ending = "reset") -> None:
        """End it now."""
        self._how = how
        if self._task is not None:
            self._task.cancel()

    def silence(self) -> None:
        """From now on nothing passes, not even an end."""
        self._silent.set()

    async def run(self) -> None:
        """Carry bytes until one side, or the weather, ends it."""
        self._task = asyncio.current_task()
        try:
            await self._carry()
        except Ended as ended:
            self._how = ended.how
        except OSError:
            self._how = "reset"
        finally:
            for each in (self._near, self._far):
                if self._how == "reset":
                    with suppress(OSError):
                        linger = struct.pack("ii", 1, 0)
                        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                each.close()

    async def _carry(self) -> None:
        hush = asyncio.create_task(self._silent_for_ever())
        tasks = [
            asyncio.create_task(self._up.read(self._from_client)),
            asyncio.create_task(self._up.write()),
            asyncio.create_task(self._down.read(self._from_broker)),
            asyncio.create_task(self._down.write()),
        ]
        waiting: set[asyncio.Task[None]] = set(tasks)
        try:
            while waiting:
                done, _ = await asyncio.wait({*waiting, hush}, return_when=asyncio.FIRST_COMPLETED)
                if hush in done:
                    await _ended(tasks)
                    await asyncio.get_running_loop().create_future()
                waiting -= done
                for task in done:
                    task.result()
            self._how = "close"
        finally:
            await _ended([*tasks, hush])

    async def _silent_for_ever(self) -> None:
        await self._silent.wait()

    # -- cuts at a point of a request's life ------------------------------------------------

    def _next_cut(self) -> Cut | None:
        weather, chance = self._sky.weather, self._sky.random
        if self._lose is not None:
            return None
        if self._sky.next_cuts:
            return self._sky.next_cuts.popleft()
        if weather.cuts and chance.random() < weather.cut_share:
            return chance.choice(weather.cuts)
        return None

    def _from_client(self, frame: bytes) -> None:
        cut, chance = self._next_cut(), self._sky.random
        if cut is None:
            self._up.put(frame)
            return
        self._sky.faults[f"cut: {cut}"] += 1
        match cut:
            case "before":
                self._end()
            case "inside":
                self._up.put(frame[: chance.randrange(1, len(frame))], self._ending())
            case "applied" | "inside reply":
                self._lose = (frame_id(frame), cut == "inside reply")
                self._up.put(frame)
            case "silence":
                self.silence()

    def _from_broker(self, frame: bytes) -> None:
        if self._lose is None or frame_id(frame) != self._lose[0]:
            self._down.put(frame)
        elif self._lose[1]:
            self._down.put(frame[: self._sky.random.randrange(1, len(frame))], self._ending())
        else:
            self._end()

    def _ending(self) -> Ending:
        return self._sky.random.choice(("reset", "close"))

    def _end(self) -> NoReturn:
        raise Ended(self._ending())


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
