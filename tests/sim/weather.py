"""The faults: when they strike, and what they do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from tests.sim.actors import World
from tests.sim.disk import GIB
from tests.sim.plan import FAULTS, rng_of
from tests.sim.tap import Tap

CRASH_POINTS = (
    "journal.before_write", "journal.after_write", "journal.before_sync", "journal.after_sync",
    "journal.before_told", "journal.after_told", "lmdb.begun", "lmdb.before_commit",
    "lmdb.after_commit", "lmdb.before_told",
)  # fmt: skip

HALF_A_DAY_MS = 12 * 3_600_000

UNSYNCED = ("journal.after_write", "journal.before_sync", "lmdb.before_commit")
"""Points at which something was written that no sync has made safe."""

OPS = ("enqueue", "ack", "reserve", "fail", "release", "extend")
"""What the broker may end in the middle of, or just after."""

Strike = Callable[["Weather"], Awaitable[None]]


class Weather:
    """Strikes at random moments while the history is open."""

    def __init__(self, world: World, tap: Tap) -> None:
        self.world = world
        self.lives = world.lives
        self.net = world.lives.net
        self.disk = world.lives.disk
        self.tap = tap
        self.rng = rng_of(world.plan.seed, "weather")

    async def blow(self) -> None:
        """One fault after the other, several at a time."""
        plan = self.world.plan
        names = [name for name in FAULTS if name in plan.faults and name in STRIKES]
        rngs = {name: rng_of(plan.seed, f"weather {name}") for name in names}
        await asyncio.gather(*(self._blow(name, rngs[name]) for name in names))

    async def _blow(self, name: str, rng: random.Random) -> None:
        every_s = self.world.plan.fault_every_ms / 1000 * (4 if name in RARE else 1)
        while not self.world.closing:
            await asyncio.sleep(rng.expovariate(1) * every_s)
            if self.world.closing:
                return
            self.world.history.reach(f"fault {name}")
            self.world.history.note("weather", name)
            await STRIKES[name](self)

    def clear(self) -> None:
        """All faults end."""
        self.disk.armed = None
        self.disk.errors.clear()
        self.disk.free_bytes = 100 * GIB
        self.lives.slow_us = 0
        self.tap.crash_after = self.tap.crash_within = None
        # Jobs may be due at a time that the clock showed before it was set back.
        behind_ms = self.world.ledger.latest_wall_ms - self.lives.clock().wall_ms
        self.lives.wall_shift_ms += max(0, behind_ms)


# ---- the network -----------------------------------------------------------------------------


async def _resets(it: Weather) -> None:
    client = it.net.some()
    if client is not None:
        it.net.reset(client)


async def _lost_replies(it: Weather) -> None:
    client = it.net.some()
    if client is not None:
        it.net.lose_replies(client)


async def _zombies(it: Weather) -> None:
    client = it.net.some()
    if client is not None:
        it.net.make_zombie(client, it.rng.choice([5_000, 200_000, 3_000_000]))


async def _half_open(it: Weather) -> None:
    client = it.net.some()
    if client is not None:
        client.silent = client.peer.silent = True


async def _one_way(it: Weather) -> None:
    client = it.net.some()
    if client is not None:
        (client if it.rng.random() < 0.5 else client.peer).silent = True


async def _stalls(it: Weather) -> None:
    client = it.net.some()
    if client is not None:
        end = client if it.rng.random() < 0.5 else client.peer
        end.extra_us = it.rng.choice([20_000, 500_000, 4_000_000])
        await asyncio.sleep(it.rng.choice([0.1, 3.0]))
        end.extra_us = 0


# ---- clocks ----------------------------------------------------------------------------------


async def _clock_steps(it: Weather) -> None:
    it.lives.wall_shift_ms += it.rng.choice([-9_000, -500, -1, 1, 700, 9_000])


async def _clock_jumps(it: Weather) -> None:
    jump_ms = it.rng.choice([-7_200_000, -11_000, 3_600_000, 60_000])
    # Producers are remembered for a day by the broker's clock, which is a promise of its own.
    if abs(it.lives.wall_shift_ms + jump_ms) > HALF_A_DAY_MS:
        jump_ms = -jump_ms
    it.lives.wall_shift_ms += jump_ms


async def _pauses(it: Weather) -> None:
    it.lives.loop.skip(it.rng.choice([5, 300, 4_000, 20_000]))


# ---- the broker and its disk -------------------------------------------------------------------


async def _kills(it: Weather) -> None:
    if it.lives.up:
        it.lives.crash(power=False, why="kill -9")


async def _power_cuts(it: Weather) -> None:
    how = it.rng.random()
    if it.lives.up and how < 0.4:
        it.lives.crash(power=True, why="the power went")
    elif how < 0.7:
        it.tap.crash_after = it.rng.choice(OPS)
    else:
        # By chance alone it would hardly ever go while a write is on its way.
        it.disk.armed, it.disk.armed_skips = it.rng.choice(UNSYNCED), it.rng.choice([0, 0, 2])


async def _crash_points(it: Weather) -> None:
    if it.rng.random() < 0.5:
        # It stands until it is met: some operations are rare.
        it.tap.crash_within = it.rng.choice(OPS)
        return
    it.disk.armed = it.rng.choice(CRASH_POINTS)
    it.disk.armed_skips = it.rng.choice([0, 0, 1, 5])


async def _recovery_crashes(it: Weather) -> None:
    if it.lives.up:
        it.lives.crash(power=it.rng.random() < 0.5, why="to crash again while it starts")
        it.disk.armed = it.rng.choice(["lmdb.before_commit", "lmdb.after_commit", "journal."])
        it.disk.armed_skips = 0


async def _sync_errors(it: Weather) -> None:
    it.disk.errors["journal.sync"] = 1


async def _commit_errors(it: Weather) -> None:
    it.disk.errors["lmdb.commit"] = 1


async def _slow_disk(it: Weather) -> None:
    it.lives.slow_us = it.rng.choice([50_000, 800_000, 3_000_000])
    await asyncio.sleep(it.rng.choice([0.1, 2.0]))
    it.lives.slow_us = 0


async def _full_disk(it: Weather) -> None:
    it.disk.free_bytes = it.rng.choice([0, 10 << 20])
    await asyncio.sleep(it.rng.choice([0.5, 5.0]))
    it.disk.free_bytes = 100 * GIB


async def _stops(it: Weather) -> None:
    it.lives.stop()


STRIKES: dict[str, Strike] = {
    "resets": _resets,
    "lost_replies": _lost_replies,
    "zombies": _zombies,
    "half_open": _half_open,
    "one_way": _one_way,
    "stalls": _stalls,
    "clock_steps": _clock_steps,
    "clock_jumps": _clock_jumps,
    "pauses": _pauses,
    "kills": _kills,
    "power_cuts": _power_cuts,
    "crash_points": _crash_points,
    "recovery_crashes": _recovery_crashes,
    "sync_errors": _sync_errors,
    "commit_errors": _commit_errors,
    "slow_disk": _slow_disk,
    "full_disk": _full_disk,
    "stops": _stops,
}

RARE = frozenset({
    "kills", "power_cuts", "crash_points", "recovery_crashes", "sync_errors", "commit_errors", "stops",
})  # fmt: skip
