"""One seed, from its plan to its verdict."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tenure import AsyncClient, Reconnect, Retry
from tests.sim.actors import World, operate, produce, work
from tests.sim.audit import bounds, recovered
from tests.sim.broker import Lives
from tests.sim.disk import Disk
from tests.sim.final import account, drain
from tests.sim.history import History
from tests.sim.ledger import MEMORY_QUEUE, Ledger
from tests.sim.loop import SimLoop, SpinningError
from tests.sim.net import Net
from tests.sim.patches import patched
from tests.sim.plan import Plan, rng_of
from tests.sim.tap import Tap
from tests.sim.weather import Weather

SETTLE_S = 30
"""How long the end may take to bring a broker up again."""


@dataclass(slots=True)
class Outcome:
    """What a seed came to."""

    plan: Plan
    digest: str
    events: int
    simulated_ms: int
    operations: int
    lives: int
    reached: Counter[str]
    violation: str = ""
    told: str = ""
    tail: list[str] = field(default_factory=list[str])


def run(plan: Plan) -> Outcome:
    """Runs one history to its end, or to its first violation."""
    loop = SimLoop(rng_of(plan.seed, "loop"), shuffle=plan.shuffle)
    history = History(lambda: loop.now_us)
    disk = Disk(rng_of(plan.seed, "disk"), history)
    splits = "splits" in plan.faults
    net = Net(loop, rng_of(plan.seed, "net"), history, plan.latency_us, splits)
    loop.dial = net.dial
    lives = Lives(plan, loop, history, disk, net)
    ledger = Ledger(history)
    ledger.steady = not plan.faults & {"clock_steps", "clock_jumps"}
    ledger.remembers = plan.settled_kept > plan.jobs
    world = World(plan, lives, ledger)
    # The collector's moments are no part of a history.
    gc.disable()
    try:
        with patched(lives):
            _run(loop, world)
    finally:
        gc.enable()
    violation = history.violation
    return Outcome(
        plan,
        history.digest,
        history.events,
        loop.now_ms - 1_000_000,
        world.ops,
        lives.number,
        history.reached,
        violation.name if violation else "",
        violation.what if violation else "",
        list(history.tail),
    )


def _run(loop: SimLoop, world: World) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_history(world))
    except SpinningError as error:
        world.ledger.blame("in time", str(error))
    except Exception as error:
        world.ledger.blame("no faults inside", f"the story ended early: {error!r}")
    finally:
        for _ in range(10):
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.call_soon(loop.stop)
            loop.run_forever()
        loop.close()
        asyncio.set_event_loop(None)


async def _history(world: World) -> None:
    plan, lives = world.plan, world.lives
    tap = Tap(lives, world.ledger)
    weather = Weather(world, tap)
    lives.on_clock = world.ledger.see_clock
    lives.on_sealed = tap.sealed

    def started() -> None:
        recovered(lives, world.ledger)
        world.ledger.broker_started(lives.number, lives.loop.now_us, lives.ended_us)

    lives.on_started = started
    tasks = [asyncio.ensure_future(lives.run())]
    keeper = AsyncClient(
        "tenure://broker", name="keeper", codec="raw", timeout="20s", reconnect=Reconnect(20, 500)
    )
    await _create_queues(world, keeper)
    tasks += [asyncio.ensure_future(produce(world, n)) for n in range(plan.producers)]
    tasks += [asyncio.ensure_future(work(world, n)) for n in range(plan.workers)]
    tasks += [asyncio.ensure_future(each) for each in (operate(world), weather.blow())]
    stories = [
        *tasks,
        asyncio.ensure_future(_watch(world)),
        asyncio.ensure_future(_plot(world, weather, keeper)),
    ]
    broken = asyncio.ensure_future(_broken(world, stories))
    await asyncio.wait([stories[-1], broken], return_when=asyncio.FIRST_COMPLETED)
    broken.cancel()
    _tell_troubles(world, stories)


async def _plot(world: World, weather: Weather, keeper: AsyncClient) -> None:
    plan, lives = world.plan, world.lives
    await asyncio.sleep(plan.duration_ms / 1000)
    world.closing = True
    weather.clear()
    await asyncio.sleep(0.5)
    weather.clear()
    world.history.note("plot", "closing")
    until_ms = lives.loop.now_ms + SETTLE_S * 1000
    while not lives.up and lives.loop.now_ms < until_ms:  # noqa: ASYNC110 (virtual time)
        await asyncio.sleep(0.1)
    if not lives.up:
        world.ledger.blame("starts again", "no broker is up though all faults are off")
        return
    # The longest that a silent connection can keep a client waiting is over now.
    await asyncio.sleep(12)
    await drain(world, keeper)
    await account(world, keeper)


async def _create_queues(world: World, client: AsyncClient) -> None:
    plan, rng = world.plan, rng_of(world.plan.seed, "queues")
    for name in world.queues:
        kept = rng.random() < 0.7
        settings: dict[str, Any] = {
            "lease": plan.lease_ms / 1000,
            "max_attempts": plan.max_attempts,
            "poison_after": plan.poison_after,
            "retention": "30d" if kept else 0,  # longer than all jumps of the clock
            "ended_retention": "30d",
            "retry": Retry(base=0.2, factor=rng.choice([1.0, 3.0]), cap=5),
        }
        if plan.has("queue_limits") and rng.random() < 0.7:
            settings["max_jobs"] = rng.choice([5, 50, 200])
        if name == MEMORY_QUEUE:
            settings["durability"] = "memory"
        world.ledger.settings[name] = {
            "max_attempts": plan.max_attempts,
            "poison_after": plan.poison_after,
            "kept": kept,
        }
        await client.create_queue(name, **settings)


async def _watch(world: World) -> None:
    """Looks at the bounds, again and again."""
    while True:
        await asyncio.sleep(0.25)
        bounds(world.lives, world.ledger)


async def _broken(world: World, stories: Sequence[asyncio.Future[Any]]) -> None:
    """Ends when a promise was broken or a story raised."""
    while world.history.violation is None and not world.lives.loop.troubles_now():
        if any(story.done() and story.exception() is not None for story in stories):
            return
        await asyncio.sleep(0.05)


def _tell_troubles(world: World, stories: Sequence[asyncio.Future[Any]]) -> None:
    for trouble in world.lives.loop.troubles_now():
        world.ledger.blame(
            "no faults inside", f"{trouble.get('message')}: {trouble.get('exception')!r}"
        )
    for story in stories:
        if story.done() and not story.cancelled() and story.exception() is not None:
            error = story.exception()
            world.ledger.blame("no faults inside", f"{type(error).__name__}: {error}")
