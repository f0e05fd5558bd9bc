"""Well-behaved clients beside a flood, in a process of their own: are they served, and how fast?

Producers enqueue one job after the other; workers reserve, check and ack. At the end every job
that was confirmed must have been delivered and acked exactly once.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from tenure_protocol.wire import pack
from tests.floods.wire import Line, hello

QUEUE = "neighbours"
PRODUCERS, WORKERS = 2, 2
LEASE_MS = 600_000
SERVED = "served?"
SERVED_JOBS = 5
"""So many jobs from end to end are proof that the neighbours are served."""
PAUSE_S = 0.002
"""Between two jobs of a producer: what is looked for is the delay, not the most that is possible."""


@dataclass(slots=True)
class Phase:
    """What happened between two marks. Latencies in milliseconds."""

    name: str
    seconds: float = 0.0
    enqueues_ms: list[float] = field(default_factory=list)
    jobs_ms: list[float] = field(default_factory=list)
    """From the beginning of the enqueue until the confirmed ack."""


def quantile(values: list[float], share: float) -> float:
    """A quantile; 0 of nothing."""
    if len(values) < 2:
        return values[0] if values else 0.0
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


class _Load:
    def __init__(self) -> None:
        self.phase = Phase("before")
        self.begun_s = time.monotonic()
        self.phases = [self.phase]
        self.confirmed: dict[bytes, float] = {}
        self.acked: dict[bytes, int] = {}
        self.stopping = False
        self.served = 0
        self.errors: list[str] = []

    def mark(self, name: str) -> None:
        now_s = time.monotonic()
        self.phase.seconds = now_s - self.begun_s
        self.phase, self.begun_s = Phase(name), now_s
        self.phases.append(self.phase)

    async def produce(self, line: Line) -> None:
        while not self.stopping:
            begun_s = time.monotonic()
            body = pack(["t", pack(begun_s), None, 1])
            (job,), _ = await line.do("enqueue", [QUEUE, [body]])
            self.confirmed[job] = begun_s
            self.phase.enqueues_ms.append(1_000 * (time.monotonic() - begun_s))
            await asyncio.sleep(PAUSE_S)

    async def work(self, line: Line) -> None:
        while not (self.stopping and len(self.acked) >= len(self.confirmed)):
            rows = await line.do("reserve", [[QUEUE], 10, 500, LEASE_MS])
            if not rows:
                continue
            outcomes = await line.do("ack", [[[row[0], row[1]] for row in rows]])
            now_s = time.monotonic()
            for row, outcome in zip(rows, outcomes, strict=True):
                job = row[0]
                if outcome != 0 or row[1] != 1 or job in self.acked:
                    self.errors.append(f"job {job.hex()}: attempt {row[1]}, outcome {outcome!r}")
                self.acked[job] = 1
                self.served += 1
                self.phase.jobs_ms.append(1_000 * (now_s - self.confirmed.get(job, now_s)))


async def _live(port: int, pipe: Connection) -> None:
    load = _Load()
    lines = [await hello(port) for _ in range(PRODUCERS + WORKERS)]
    tasks = [asyncio.create_task(load.produce(line)) for line in lines[:PRODUCERS]]
    tasks += [asyncio.create_task(load.work(line)) for line in lines[PRODUCERS:]]
    loop = asyncio.get_running_loop()
    said: asyncio.Queue[Any] = asyncio.Queue()
    loop.add_reader(pipe.fileno(), lambda: said.put_nowait(pipe.recv()))
    pipe.send("ready")
    everything = asyncio.gather(*tasks)
    while True:
        waiting = asyncio.ensure_future(said.get())
        await asyncio.wait([waiting, everything], return_when=asyncio.FIRST_COMPLETED)
        if everything.done() and not load.stopping:
            waiting.cancel()
            load.errors.append(f"a neighbour stopped: {everything.exception()!r}")
            break
        name = waiting.result()
        if name == SERVED:
            before = load.served
            while load.served < before + SERVED_JOBS and not everything.done():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            pipe.send(SERVED)
            continue
        load.mark(name)
        if name == "stop":
            load.stopping = True
            try:
                await asyncio.wait_for(asyncio.shield(everything), 60)
            except Exception as error:
                load.errors.append(f"at the end: {error!r}")
            break
    loop.remove_reader(pipe.fileno())
    lost = [job.hex() for job in load.confirmed if job not in load.acked]
    if lost:
        load.errors.append(f"{len(lost)} confirmed jobs were never delivered, such as {lost[0]}")
    pipe.send((load.phases, load.errors, len(load.confirmed)))


def _main(port: int, pipe: Connection) -> None:
    asyncio.run(_live(port, pipe))


class Neighbours:
    """The process. `mark` begins a phase; `stop` gives the phases, and asserts that all was right."""

    def __init__(self, port: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_main, args=(port, theirs), daemon=True)
        self._process.start()
        self._wait()

    def _wait(self) -> Any:
        assert self._pipe.poll(120), "the neighbours say nothing"
        return self._pipe.recv()

    def mark(self, name: str) -> None:
        """A phase begins."""
        self._pipe.send(name)

    def await_served(self) -> None:
        """Waits until some more jobs have gone from end to end, however long that takes here."""
        self._pipe.send(SERVED)
        assert self._wait() == SERVED

    def stop(self) -> list[Phase]:
        """The phases. Raises `AssertionError` if a job was lost, doubled, or not served at all."""
        try:
            self._pipe.send("stop")
            phases, errors, confirmed = self._wait()
        finally:
            self._process.join(10)
            self._process.kill()
        assert not errors, errors[:3]
        assert confirmed, "no job was ever confirmed"
        return [phase for phase in phases if phase.name != "stop"]
