"""One round: a load of one kind of client, a plan of bad weather, a drain, and the verdict."""

from __future__ import annotations

import gc
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tenure import CannotConnect, Client, Reconnect, RequestTimeout
from tests.network.actors import Act, Actor, consume, perform, produce, settle, take, watch
from tests.network.callers import Caller, Kind, OpenCaller, caller_of, open_for_good
from tests.network.judge import LATE_S, Report, judge, judge_ends
from tests.network.kernel import Partitioned
from tests.network.profiles import is_slow, plan
from tests.network.proxy import FaultProxy
from tests.network.record import Record

CLIENTS = 3
STORM_CLIENTS = 12
JOBS_MAX = 400
DRAIN_S_MAX = 240.0
CONNECT_S_MAX = 240.0
_LEFT_S_MAX = 60.0


@dataclass(frozen=True)
class Round:
    """Which client, in which weather, drawn from which seed, for how long, on which broker."""

    kind: Kind
    profile: str
    seed: int
    seconds: float
    url: str

    @property
    def queue(self) -> str:
        """A queue that no other round uses."""
        return f"{self.kind}-{self.profile}-{self.seed}"


def run_round(chosen: Round) -> Report:
    """Let clients work through bad weather; what came of it."""
    open_for_good()
    files, threads = open_files(), threading.active_count()
    record, beside = Record(), Record()
    with Client(chosen.url, name="judge") as direct:
        _create(direct, chosen.queue)
        with FaultProxy(chosen.url, chosen.seed) as proxy:
            steps = plan(chosen.profile, chosen.seed, chosen.seconds)
            others = None if chosen.profile != "corrupt" else _Others(direct, chosen, beside)
            left = load(chosen, proxy.url, record, lambda: proxy.play(steps).result())
            faults = proxy.faults
        if others is None:
            drain(direct, record, chosen.queue)
            report = judge(record.lines, direct.queue(chosen.queue).totals["enqueued"])
        else:
            report = judge_ends(record.lines)
            report.add(others.verdict())
    report.counts.update({f"fault {name}": count for name, count in faults.items()})
    if left:
        report.blame("nothing left", f"{left} tasks of the client still run after its end")
    _check_nothing_is_left(files, threads, report)
    return report


def run_kernel_round(chosen: Round, wire: Partitioned) -> Report:
    """The same with partitions that the kernel makes, and no proxy."""
    record = Record()
    with Client(chosen.url, name="judge", timeout="60s") as direct:
        _create(direct, chosen.queue)
        left = load(chosen, chosen.url, record, lambda: wire.play(chosen.seed, chosen.seconds))
        drain(direct, record, chosen.queue)
        report = judge(record.lines, direct.queue(chosen.queue).totals["enqueued"])
    report.counts["fault kernel partitions"] = wire.episodes
    wire.episodes = 0
    if left:
        report.blame("nothing left", f"{left} tasks of the client still run after its end")
    return report


def _create(direct: Client, queue: str) -> None:
    direct.create_queue(queue, max_jobs=JOBS_MAX, max_attempts=1_000, poison_after=0)


class _Others:
    """Clients of the same broker past the proxy: what happens to others must not harm them."""

    def __init__(self, direct: Client, chosen: Round, record: Record) -> None:
        self._direct, self._record = direct, record
        self._chosen = Round(chosen.kind, "others", chosen.seed, chosen.seconds, chosen.url)
        _create(direct, self._chosen.queue)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._load)
        self._thread.start()

    def _load(self) -> None:
        load(self._chosen, self._chosen.url, self._record, lambda: self._stop.wait(DRAIN_S_MAX))

    def verdict(self) -> Report:
        """Stop them, and judge them by all that is promised."""
        self._stop.set()
        self._thread.join()
        queue = self._chosen.queue
        drain(self._direct, self._record, queue)
        return judge(self._record.lines, self._direct.queue(queue).totals["enqueued"])


def load(chosen: Round, url: str, record: Record, until: Callable[[], object]) -> int:
    """The clients' work, until `until` returns. How many tasks they leave behind."""
    rng = random.Random(f"load {chosen.queue}")
    timeout_s = rng.choice([0.5, 1.0, 3.0])
    callers: list[Caller] = []
    actors: list[tuple[Actor, Act]] = []
    for number in range(STORM_CLIENTS if chosen.profile == "storm" else CLIENTS):
        strict = rng.random() < 0.8
        caller = caller_of(
            chosen.kind, url, uvloop=rng.random() < 0.5, **_options(number, timeout_s, strict)
        )
        _connect(caller)
        callers.append(caller)
        for act in (produce, consume, watch) if number < CLIENTS else (produce,):
            actor = Actor(
                who=f"{act.__name__}{number}", caller=caller, record=record, seed=chosen.seed,
                queue=chosen.queue, timeout_s=timeout_s, strict=strict,
                small=is_slow(chosen.profile),
                tolerant=chosen.profile == "corrupt",
            )  # fmt: skip
            actors.append((actor, act))
    _act(actors, until, record, hang_s=3 * timeout_s + 3 * LATE_S)
    return sum(caller.close() for caller in callers)


def _connect(caller: Caller) -> None:
    """Connect in fair weather, however slow the machine; from then on only the weather counts."""
    end = time.monotonic() + CONNECT_S_MAX
    while True:
        try:
            caller.call("ping")
        except (CannotConnect, RequestTimeout):
            if time.monotonic() > end:
                raise
        else:
            return


def _act(
    actors: list[tuple[Actor, Act]], until: Callable[[], object], record: Record, hang_s: float
) -> None:
    threads = [
        threading.Thread(target=perform, args=(actor, act), name=actor.who, daemon=True)
        for actor, act in actors
    ]
    for thread in threads:
        thread.start()
    until()
    for actor, _ in actors:
        actor.stop.set()
    for thread in threads:
        thread.join(hang_s)
        if thread.is_alive():
            record.write(thread.name, "crashed", error="a call hangs")


def _options(number: int, timeout_s: float, strict: bool) -> dict[str, Any]:
    return {
        "name": f"client{number}",
        "codec": "raw",
        "timeout": timeout_s,
        "connect_timeout": 0.5,
        "reconnect": Reconnect(base_ms=5, cap_ms=100) if strict else False,
    }


def drain(direct: Client, record: Record, queue: str) -> None:
    """Take and ack all that is left, past the proxy; then write the dead ones down."""
    actor = Actor("drain", OpenCaller(direct), record, 0, queue, timeout_s=30.0)
    end = time.monotonic() + DRAIN_S_MAX
    while direct.queue(queue).jobs:
        if time.monotonic() > end:
            return
        jobs = take(actor)
        if jobs:
            settle(actor, jobs, "ack")
    cursor: bytes | None = None
    dead: list[str] = []
    while True:
        page = direct.dead_jobs(queue, limit=500, cursor=cursor, bodies=False)
        dead += [job.id for job in page.jobs]
        cursor = page.cursor
        if cursor is None:
            break
    record.write("drain", "drained", dead=dead)


def open_files() -> int:
    """How many descriptors this process has."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def _check_nothing_is_left(files: int, threads: int, report: Report) -> None:
    """Descriptors and threads are as many as before; those that end take a moment."""
    end = time.monotonic() + _LEFT_S_MAX
    pause = threading.Event()
    while open_files() > files or threading.active_count() > threads:
        if time.monotonic() > end:
            report.blame(
                "nothing left",
                f"{open_files() - files} more descriptors and"
                f" {threading.active_count() - threads} more threads than before",
            )
            return
        pause.wait(0.02)
