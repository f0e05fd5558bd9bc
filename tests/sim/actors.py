"""Who uses the broker: producers, workers, and an operator. Each is one task of the loop."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from tenure import AsyncClient, NewJob, Reconnect, Retry
from tenure.aio import async_client_over
from tenure.errors import (
    BrokerError,
    CannotConnect,
    ClientClosed,
    ConnectionLost,
    LeaseLost,
    OutcomeUnknown,
    PartlyEnqueued,
    RequestTimeout,
    TenureError,
)
from tenure.jobs import LeasedJob
from tests.sim.broker import Lives
from tests.sim.ledger import MEMORY_QUEUE, Ledger
from tests.sim.plan import Plan, rng_of
from tests.sim.sharing import BlockingWay

UNKNOWN = (OutcomeUnknown, RequestTimeout, ConnectionLost, CannotConnect, ClientClosed)
"""What leaves open whether something was done, or says that it was not even sent."""

PRIORITIES = (0, 64, 128, 128, 255)


class World:
    """What all actors share."""

    def __init__(self, plan: Plan, lives: Lives, ledger: Ledger) -> None:
        self.plan = plan
        self.lives = lives
        self.ledger = ledger
        self.history = lives.history
        self.closing = False
        """Producers stop, and workers go on until everything has ended."""
        self.over = False
        self.made = 0
        self.clients = 0
        self.queues = [f"q{n}" for n in range(plan.queues)]
        if plan.has("memory_queue"):
            self.queues.append(MEMORY_QUEUE)
        self.enqueued: list[str] = []
        self.ops = 0

    def client(self, name: str, rng: random.Random) -> AsyncClient:
        """A new client, of one kind or the other."""
        self.clients += 1
        made = AsyncClient(
            "tenure://broker:7733",
            name=name,
            codec="raw",
            timeout="6s",
            connect_timeout="60s",
            reconnect=Reconnect(base_ms=20, cap_ms=1_000),
        )
        if rng.random() >= self.plan.blocking_share:
            self.history.reach("clients asyncio")
            return made
        self.history.reach("clients blocking")
        link: Any = BlockingWay(made._settings, self.lives.loop)
        return async_client_over(link, made._settings)

    def failed(self, who: str, op: str, error: Exception) -> None:
        """An operation was refused, or nobody knows."""
        known = isinstance(error, (TenureError, *UNKNOWN))
        if self.plan.calm and isinstance(error, (OutcomeUnknown, RequestTimeout)):
            self.ledger.blame("in time", f"{op} of {who}, whom nothing disturbs: {error!r}")
        kind = "unknown" if isinstance(error, UNKNOWN) else "refused"
        self.history.note(who, op, kind, type(error).__name__)
        self.history.reach(f"client {kind}")
        if not known or (isinstance(error, BrokerError) and error.code in ("INTERNAL",)):
            self.ledger.blame("no faults inside", f"{op}: {error!r}")
        if isinstance(error, BrokerError) and error.code in ("MALFORMED_FRAME", "BAD_REQUEST"):
            self.ledger.blame("no faults inside", f"{op}: {error!r}")


# ---- producers -----------------------------------------------------------------------------


async def produce(world: World, index: int) -> None:
    """Enqueues until the history closes; now and then it vanishes and is somebody else."""
    plan = world.plan
    rng = rng_of(plan.seed, f"producer {index}")
    name = f"p{index}"
    client = world.client(name, rng)
    # Reserves nothing, so its pace is its own.
    while not world.closing and world.made < plan.jobs:
        await asyncio.sleep(rng.expovariate(1) * plan.think_ms / 1000)
        if plan.has("dying_producers") and rng.random() < 0.02:
            world.history.reach("producers that died")
            await client.close()
            client = world.client(name, rng)
        await _enqueue(world, client, name, rng)
    await client.close()


async def _enqueue(world: World, client: AsyncClient, name: str, rng: random.Random) -> None:
    queue = rng.choice(world.queues)
    count = 1
    if world.plan.has("batches") and rng.random() < 0.3:
        count = rng.choice([2, 5, 20, 60])
    jobs = [_job(world, rng) for _ in range(count)]
    world.ops += 1
    try:
        if count == 1:
            options: Any = jobs[0].options
            ids: list[str] = [await client.enqueue(queue, "t", jobs[0].payload, **options)]
        else:
            ids = await client.enqueue_many(queue, jobs, chunk_jobs=rng.choice([7, 1000]))
    except PartlyEnqueued as error:
        world.history.note(name, "enqueue", "partly", len(error.ids))
        return
    except Exception as error:
        world.failed(name, "enqueue", error)
        return
    forgotten = queue == MEMORY_QUEUE and world.lives.number > 1
    for job_id, job in zip(ids, jobs, strict=True) if not forgotten else ():
        _check_confirmed(world, str(job_id), job, bool(getattr(job_id, "existing", False)))
    world.enqueued += [str(job_id) for job_id in ids]


def _check_confirmed(world: World, job_id: str, job: NewJob, existing: bool) -> None:
    from tenure_protocol.ids import decode_id

    key = job.payload.partition(b"|")[0]
    known = world.ledger.by_id.get(decode_id(job_id))
    # A held name may be that of a job whose own confirmation nobody got: its id is news then.
    if not existing and (known is None or known.key != key):
        world.ledger.blame("nothing from nowhere", f"{key!r} was confirmed as {job_id}")


def _job(world: World, rng: random.Random) -> NewJob:
    plan = world.plan
    world.made += 1
    key = b"k%d" % world.made
    options: dict[str, Any] = {}
    if plan.has("priorities"):
        options["priority"] = rng.choice(PRIORITIES)
    if plan.has("delays") and rng.random() < 0.4:
        options["delay"] = rng.choice([0.01, 0.5, 5.0, 30.0])
    if plan.has("expiries") and rng.random() < 0.2:
        options["expires"] = rng.choice([0.05, 2.0, 20.0])
        if options["expires"] <= options.get("delay", 0.0):
            del options["delay"]  # the client refuses what would never run
    if plan.has("unique") and rng.random() < 0.4:
        options["unique"] = f"u{rng.randrange(6)}"
    if plan.has("retries") and rng.random() < 0.3:
        options["max_attempts"] = rng.choice([1, 2, 4])
        options["retry"] = Retry.fixed(rng.choice([0, 0.3, 3.0]), jitter=0.5)
    if rng.random() < 0.1:
        options["lease"] = plan.lease_ms / 1000
    return NewJob("t", key + b"|" + b"x" * rng.randint(0, plan.payload_bytes), **options)


# ---- workers -------------------------------------------------------------------------------


async def work(world: World, index: int) -> None:
    """Reserves and settles until everything has ended."""
    plan = world.plan
    rng = rng_of(plan.seed, f"worker {index}")
    name = f"w{index}"
    client = world.client(name, rng)
    while not world.over:
        if not world.closing and plan.has("dying_workers") and rng.random() < 0.03:
            world.history.reach("workers that died")
            await client.close()
            client = world.client(name, rng)
        if plan.has("keeps") and rng.random() < 0.05:
            await _try(world, name, "keep", _keep(client))
        if plan.has("goodbyes") and not world.closing and rng.random() < 0.02:
            await _try(world, name, "goodbye", client.goodbye())
            client = world.client(name, rng)
        jobs = await _reserve(world, client, name, rng)
        if jobs:
            await _handle(world, client, name, rng, jobs)
        else:
            await asyncio.sleep(1.0 if world.closing else rng.choice([0.02, 0.1, 0.5]))
    await client.close()


async def _keep(client: AsyncClient) -> object:
    from tenure.core import fleet

    return await client._call(fleet.keep([]))


async def _try(world: World, name: str, op: str, call: Any) -> Any:
    world.ops += 1
    try:
        return await call
    except Exception as error:
        world.failed(name, op, error)
        return None


async def _reserve(
    world: World, client: AsyncClient, name: str, rng: random.Random
) -> list[LeasedJob]:
    plan = world.plan
    names = list(world.queues)
    rng.shuffle(names)
    queues: Any = names
    if plan.has("weights") and rng.random() < 0.4:
        queues = {queue: rng.choice([1, 3]) for queue in names}
    wait = rng.choice([0.2, 2.0, 8.0]) if plan.has("waits") else 0
    sizes = [1, 3, 8, 30] if plan.has("batches") else [1, 1, 3, 30]
    auto = plan.has("auto_ack") and not world.closing and rng.random() < 0.1
    got = await _try(
        world,
        name,
        "reserve",
        client.reserve(queues, max_jobs=rng.choice(sizes), wait=wait, auto_ack=auto),
    )
    jobs: list[LeasedJob] = got or []
    _check_known(world, name, jobs)
    return [] if auto else jobs


def _check_known(world: World, name: str, jobs: list[LeasedJob]) -> None:
    for job in jobs:
        known = world.ledger.by_key.get(job.payload.partition(b"|")[0])
        forgotten = job.queue == MEMORY_QUEUE and world.lives.number > 1
        if known is None or (known.id != job.id_bytes and not forgotten):
            world.ledger.blame("nothing from nowhere", f"{name} was given {job!r}")


async def _handle(
    world: World, client: AsyncClient, name: str, rng: random.Random, jobs: list[LeasedJob]
) -> None:
    plan, closing = world.plan, world.closing
    if plan.work_ms:
        await asyncio.sleep(rng.expovariate(1) * plan.work_ms / 1000)
    if not closing and plan.has("slow_workers") and rng.random() < 0.1:
        world.history.reach("workers slower than their lease")
        await asyncio.sleep(plan.lease_ms / 1000 * rng.choice([0.99, 1.0, 1.5]))
    if not closing and plan.has("dying_workers") and rng.random() < 0.05:
        return
    if plan.has("extends") and rng.random() < 0.3:
        other = rng.choice([None, 0.5, 3.0, 3.0])
        lease = None if other is None else other * plan.lease_ms / 1000
        if lease is not None:
            world.history.reach("extends to another length")
        await _try(world, name, "extend", client.extend(jobs, lease=lease))
        if plan.lease_ms <= 2_000:
            # With the longer lease it works on for longer than the first one would have been.
            await asyncio.sleep(plan.lease_ms / 1000 * (2.0 if other == 3.0 else 0.6))
    if plan.has("notes") and rng.random() < 0.2:
        note = client.note(jobs[0], checkpoint=b"c" * rng.randint(0, 50), log=["line"])
        await _try(world, name, "note", note)
    if len(jobs) > 1 and rng.random() < 0.4:
        result = b"r" if plan.has("results") else None
        if not plan.pipelined:
            await _try(world, name, "ack", client.ack(jobs, result))
            return
        turn = client.ack_and_reserve(jobs, list(world.queues), result=result, max_jobs=2)
        got = await _try(world, name, "ack_and_reserve", turn)
        jobs = got[1] if got else []
        _check_known(world, name, jobs)
        world.history.reach("jobs leased with an ack", len(jobs))
    if len(jobs) > 2:
        rng.shuffle(jobs)
    for job in jobs:
        await _settle(world, client, name, rng, job)
        if not closing and plan.work_ms and len(jobs) > 2:
            # As what was taken together is done by and by: a crash finds some of it settled.
            await asyncio.sleep(rng.expovariate(1) * plan.work_ms / 1000)


async def _settle(
    world: World, client: AsyncClient, name: str, rng: random.Random, job: LeasedJob
) -> None:
    plan, closing = world.plan, world.closing
    chance = rng.random()
    poisoned = plan.has("poison") and len(job.payload) % 7 == 1
    try:
        world.ops += 1
        if plan.has("retries") and (poisoned or chance < (0.0 if closing else 0.3)):
            options: Any = {"kind": "crashed" if poisoned else rng.choice(["failed", "timeout"])}
            if rng.random() < 0.3:
                options["retry_in"] = rng.choice([0, 0.2, 4.0])
            if rng.random() < 0.1:
                options["dead"] = True
            await client.fail(job, "broken", **options)
        elif plan.has("releases") and chance < (0.05 if closing else 0.45):
            await client.release(job, delay=rng.choice([None, None, 0.3, 6.0]))
        else:
            await client.ack(job, b"result" if plan.has("results") else None)
    except LeaseLost:
        world.history.reach("leases lost under a worker")
    except Exception as error:
        world.failed(name, "settle", error)


# ---- the operator --------------------------------------------------------------------------


async def operate(world: World) -> None:
    """Does what people do to queues, from time to time."""
    plan = world.plan
    rng = rng_of(plan.seed, "operator")
    client = world.client("operator", rng)
    doings = [
        name
        for name in ("cancels", "purges", "dead_letters", "pausing", "looking", "draining")
        if plan.has(name)
    ]
    while not world.closing and doings:
        await asyncio.sleep(rng.expovariate(1) * plan.duration_ms / 40_000)
        await _try(world, "operator", "operate", _operate(world, client, rng, rng.choice(doings)))
    await client.close()


async def _operate(world: World, client: AsyncClient, rng: random.Random, doing: str) -> None:
    queue = rng.choice(world.queues)
    world.history.reach(f"did {doing}")
    if doing == "cancels" and world.enqueued:
        chosen = rng.sample(world.enqueued, min(len(world.enqueued), rng.choice([1, 5])))
        await client.cancel(chosen)
    elif doing == "purges" and rng.random() < 0.3:
        await client.purge_queue(queue)
    elif doing == "dead_letters":
        page = await client.dead_jobs(queue, limit=20)
        ids = [job.id for job in page.jobs]
        if ids and rng.random() < 0.7:
            await client.replay(queue, ids[: rng.randint(1, len(ids))])
        elif ids and rng.random() < 0.3:
            await client.purge_dead(queue, ids[:1])
        elif rng.random() < 0.5:
            await client.replay(queue, older_than=0)
    elif doing == "pausing":
        await client.pause_queue(queue)
        await asyncio.sleep(rng.choice([0.1, 2.0]))
        await client.resume_queue(queue)
    elif doing == "looking":
        await client.queues()
        await client.peek(queue, rng.choice(["ready", "leased", "scheduled", "retrying"]), limit=5)
        if world.enqueued:
            await client.wait(rng.choice(world.enqueued), timeout=rng.choice([0, 1.0]))
        await client.stats()
    elif doing == "draining":
        await client.drain()
        await asyncio.sleep(rng.choice([0.05, 1.0]))
        await client.drain(off=True)
