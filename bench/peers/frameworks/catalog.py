"""Which frameworks are measured, how each is run, and how many jobs it gets.

Slow ones get fewer jobs, so that a round stays short; the report says how many.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.peers.results import TENURE

APPS = "bench.peers.frameworks.apps"
TENURE_APP = "bench.peers.frameworks.tenure_app"
BULLMQ = "bench/peers/frameworks/apps/bullmq_app.mjs"

OWN = "own"
"""Tenure's environment: the Python that runs this program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """How many: enqueued one by one, in the best way, and processed."""

    one: int
    many: int
    run: int

    def at_most(self, jobs: int) -> Jobs:
        """No more than that of each."""
        return Jobs(one=min(self.one, jobs), many=min(self.many, jobs), run=min(self.run, jobs))

    def divided(self, by: int) -> Jobs:
        """Fewer of each, but enough to see a rate."""
        return Jobs(
            one=max(self.one // by, 50), many=max(self.many // by, 50), run=max(self.run // by, 50)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """One framework in one setting.

    `home` is the environment that its packages are in; `worker` is the one command that
    processes. `like` is the mode of Tenure that is arranged alike; of Tenure's own modes, "".
    `enqueues` is False where another mode enqueues in the same way. `probes_syncs`: its syncs
    are counted too, in a pass of its own.
    """

    peer: str
    mode: str
    broker: str
    home: str
    app: str
    worker: tuple[str, ...]
    jobs: Jobs
    like: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    enqueues: bool = True
    probes_syncs: bool = False
    how: str = ""

    @property
    def name(self) -> str:
        """How it is called on the command line."""
        return f"{self.peer}-{self.mode}"


ENQUEUES = "async-100"
"""The mode of Tenure whose enqueuing is measured; it is the same in all of them."""

FAST = Jobs(one=3_000, many=20_000, run=20_000)


def _tenure(mode: str, options: str, how: str, *, blocking: bool = False) -> Framework:
    return Framework(
        peer=TENURE,
        mode=mode,
        broker="tenure",
        home=OWN,
        app=TENURE_APP,
        worker=(sys.executable, "-m", "tenure.worker", f"{TENURE_APP}:app", *options.split()),
        jobs=FAST,
        environment={"BENCH_BLOCKING": "1"} if blocking else {},
        enqueues=mode == ENQUEUES,
        probes_syncs=mode == ENQUEUES,
        how=how,
    )


def _python(
    peer: str, mode: str, worker: str, *, jobs: Jobs, like: str, how: str, **more: Any
) -> Framework:
    """One of Python: APP in the worker's command is its module."""
    app = f"{APPS}.{peer}_app"
    command = tuple(worker.replace("APP", app).split())
    given = {"broker": "redis", "home": "peers", **more}
    return Framework(
        peer=peer, mode=mode, app=app, worker=command, jobs=jobs, like=like, how=how, **given
    )


def _celery(mode: str, pool: str, jobs: Jobs, **more: Any) -> Framework:
    return _python(
        "celery",
        mode,
        f"celery -A APP worker -P {pool} -c 10 -l WARNING",
        jobs=jobs,
        like="process-10-prefetch-4" if pool == "prefork" else "thread-10-prefetch-4",
        how="acks_late, 4 jobs ahead for each that runs; many: a loop on one connection",
        **more,
    )


def _dramatiq(mode: str, broker: str, *, syncs: bool) -> Framework:
    return _python(
        "dramatiq",
        mode,
        "dramatiq APP -p 1 -t 10",
        jobs=Jobs(one=3_000, many=8_000, run=8_000),
        like="thread-10-prefetch-4",
        how="one process, 10 threads, 2 jobs ahead for each; many: a group, which is a loop",
        broker=broker,
        probes_syncs=syncs,
    )


def _rq(mode: str, options: str, run: int) -> Framework:
    return _python(
        "rq",
        mode,
        f"rq worker -q {options} --url {{broker}} default",
        jobs=Jobs(one=1_500, many=5_000, run=run),
        like="process-1",
        how="one job at a time, result_ttl 0; many: enqueue_many of 1,000",
        enqueues=mode == "fork",
    )


def _bullmq(mode: str, broker: str, concurrency: int, **more: Any) -> Framework:
    return Framework(
        peer="bullmq",
        mode=mode,
        broker=broker,
        home="node",
        app=BULLMQ,
        worker=("node", BULLMQ, "worker", str(concurrency)),
        jobs=FAST,
        like=f"async-{concurrency}",
        how="Node; removeOnComplete; many: addBulk of 1,000",
        **more,
    )


CELERY = Jobs(one=1_500, many=2_000, run=1_500)

FRAMEWORKS = (
    _tenure(ENQUEUES, "--pool async -c 100", "async def tasks"),
    _tenure("async-10", "--pool async -c 10", "async def tasks"),
    _tenure("async-10-prefetch-4", "--pool async -c 10 --prefetch 4", "async def tasks"),
    _tenure("thread-10", "--pool thread -c 10", "def tasks", blocking=True),
    _tenure("thread-10-prefetch-4", "--pool thread -c 10 --prefetch 4", "def tasks", blocking=True),
    _tenure(
        "process-10-prefetch-4", "--pool process -c 10 --prefetch 4", "def tasks", blocking=True
    ),
    _tenure("process-1", "--pool process -c 1", "def tasks", blocking=True),
    _celery("redis-prefork", "prefork", CELERY, probes_syncs=True),
    _celery("redis-threads", "threads", CELERY, enqueues=False),
    _celery("redis-always-prefork", "prefork", CELERY, broker="redis-always", probes_syncs=True),
    _celery(
        "rabbitmq-prefork",
        "prefork",
        Jobs(one=1_000, many=2_000, run=4_000),
        broker="rabbitmq",
        probes_syncs=True,
    ),
    _dramatiq("1x10", "redis", syncs=False),
    _dramatiq("always-1x10", "redis-always", syncs=True),
    _rq("fork", "", 80),
    _rq("simple", "-w rq.SimpleWorker", 500),
    _python(
        "arq",
        "10",
        "arq APP.WorkerSettings",
        home="arq",
        jobs=Jobs(one=2_000, many=5_000, run=800),
        like="async-10",
        how="max_jobs 10, results thrown away; many: 100 in flight",
    ),
    _python(
        "huey",
        "threads-10",
        "huey_consumer APP.huey -w 10 -k thread -q",
        jobs=Jobs(one=3_000, many=10_000, run=8_000),
        like="thread-10",
        how="without results; acknowledges before the task, so a crash loses it; many: a loop",
    ),
    _python(
        "taskiq",
        "stream-10",
        "taskiq worker APP:broker --workers 1 --max-async-tasks 10 --log-level WARNING",
        jobs=Jobs(one=2_000, many=5_000, run=8_000),
        like="async-10-prefetch-4",
        how="one process, 10 async tasks, 100 jobs read ahead; many: 100 in flight",
    ),
    _python(
        "procrastinate",
        "10",
        "procrastinate --app=APP.app worker --concurrency 10",
        broker="postgres",
        jobs=Jobs(one=800, many=5_000, run=500),
        like="async-10",
        how="10 async tasks; many: batch_defer_async of 1,000",
        before=("procrastinate", f"--app={APPS}.procrastinate_app.app", "schema", "--apply"),
        probes_syncs=True,
    ),
    _bullmq("10", "redis", 10, enqueues=False),
    _bullmq("100", "redis", 100),
    _bullmq("always-100", "redis-always", 100, probes_syncs=True),
)
