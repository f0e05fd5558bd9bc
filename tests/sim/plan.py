"""What a seed switches on, and how large it is: swarm testing."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

FAULTS = (
    "resets",  # connections break; what was on its way is lost
    "lost_replies",  # the request arrives, its reply does not
    "zombies",  # an old connection's bytes arrive after the new one is open
    "half_open",  # a connection goes silent and nobody is told
    "one_way",  # one direction goes silent
    "stalls",  # bytes are late
    "splits",  # frames arrive in pieces
    "clock_steps",  # the broker's wall clock is set by seconds
    "clock_jumps",  # or by hours
    "pauses",  # the machine stands still
    "kills",  # the broker's process ends; what it wrote stays
    "power_cuts",  # what was not synced is lost, torn or kept
    "crash_points",  # the same between two steps of a commit
    "sync_errors",  # a sync of the journal fails
    "commit_errors",  # an LMDB commit fails
    "slow_disk",  # syncs take long
    "full_disk",  # there is no room for enqueues
    "slow_workers",  # they hold a job longer than its lease
    "dying_workers",  # they vanish with what they hold
    "dying_producers",  # they vanish and come back as somebody else
    "stops",  # the broker is told to stop, in order, and starts again
    "recovery_crashes",  # it crashes again while it starts
)
HARMLESS = frozenset({"splits", "slow_workers", "dying_workers", "dying_producers", "full_disk"})
"""Faults that make nobody else late."""

FEATURES = (
    "delays", "priorities", "expiries", "unique", "batches", "retries", "poison", "releases",
    "extends", "cancels", "purges", "dead_letters", "waits", "many_queues", "weights", "auto_ack",
    "notes", "keeps", "goodbyes", "memory_queue", "queue_limits", "pausing", "looking", "draining",
    "results",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a history is made of, besides the seed."""

    seed: int
    faults: frozenset[str]
    features: frozenset[str]
    producers: int
    workers: int
    duration_ms: int
    think_ms: int
    jobs: int
    """How many are sent at most."""
    work_ms: int
    payload_bytes: int
    queues: int
    lease_ms: int
    max_attempts: int
    poison_after: int
    latency_us: int
    sync_us: int
    commit_us: int
    journal_bytes: int
    record_rows_max: int
    here_bytes_max: int
    """The longest record that is written on the loop's thread; 0: none is."""
    behind_rows_max: int
    behind_ms_max: int
    window_bytes: int
    slice_rows: int
    """How many rows a refill, a chore or a look at one table takes at a time."""
    settled_kept: int
    leases_max: int
    waiting_max: int
    fault_every_ms: int
    shuffle: bool
    pipelined: bool
    """Whether workers say that many jobs are done and ask for the next in one go."""
    blocking_share: float
    """How many of the clients carry their commands as the blocking shell does."""

    @property
    def calm(self) -> bool:
        """Whether nothing makes the system late or forgetful: then lateness is a fault."""
        return not self.faults - HARMLESS and "draining" not in self.features

    @property
    def sorted_faults(self) -> list[str]:
        """In a fixed order."""
        return sorted(self.faults)

    @property
    def sorted_features(self) -> list[str]:
        """In a fixed order."""
        return sorted(self.features)

    def has(self, name: str) -> bool:
        """Whether a fault or feature is on."""
        return name in self.faults or name in self.features


def rng_of(seed: int, name: str) -> random.Random:
    """A stream of its own for each part, so that one part less leaves the others as they were."""
    return random.Random(f"{seed}/{name}")


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    rng = rng_of(seed, "plan")
    share = rng.choice([0.0, 0.1, 0.2, 0.3, 0.5, 0.7])
    faults = frozenset(name for name in FAULTS if rng.random() < share)
    if rng.random() < 0.15:
        faults &= HARMLESS
    wide = rng.choice([0.2, 0.5, 0.8])
    features = frozenset(name for name in FEATURES if rng.random() < wide)
    return Plan(
        seed=seed,
        faults=faults,
        features=features,
        producers=rng.randint(1, 5),
        workers=rng.randint(1, 6),
        duration_ms=rng.choice([2_000, 8_000, 20_000, 60_000]),
        think_ms=rng.choice([3, 30, 200, 1_000]),
        jobs=rng.choice([20, 60, 150, 400]),
        work_ms=rng.choice([0, 5, 100, 800]),
        payload_bytes=rng.choice([0, 20, 200, 5_000]),
        queues=rng.randint(2, 4) if "many_queues" in features else 1,
        lease_ms=rng.choice([500, 2_000, 10_000, 30_000]),
        max_attempts=rng.choice([1, 2, 3, 5, 20]),
        poison_after=rng.choice([0, 1, 3]) if "poison" in features else 0,
        latency_us=rng.choice([50, 500, 5_000, 50_000]),
        sync_us=rng.choice([100, 1_000, 10_000]),
        commit_us=rng.choice([300, 3_000, 30_000]),
        journal_bytes=rng.choice([16, 64, 256, 2_048]) * 4_096,
        record_rows_max=rng.choice([4, 32, 512]),
        here_bytes_max=rng_of(seed, "here").choice([0, 2_000, 16 * 1024]),
        behind_rows_max=rng.choice([8, 64, 1_024]),
        behind_ms_max=rng.choice([5, 200]),
        window_bytes=rng.choice([1_500, 8_000, 64 * 1024, 16 << 20]),
        slice_rows=rng.choice([2, 16, 1_000]),
        settled_kept=rng.choice([8, 64, 32_768]),
        leases_max=rng.choice([8, 500_000]),
        waiting_max=rng.choice([3, 20_000]),
        fault_every_ms=rng.choice([300, 2_000, 10_000]),
        shuffle=rng.random() < 0.5,
        pipelined=rng_of(seed, "pipelined").random() < 0.5,
        blocking_share=rng.choice([0.0, 0.5, 1.0]),
    )


def reduced(plan: Plan, *, without: frozenset[str], **sizes: int | None) -> Plan:
    """The plan with some faults and features off, and smaller where sizes are given."""
    given = {name: size for name, size in sizes.items() if size is not None}
    return replace(plan, faults=plan.faults - without, features=plan.features - without, **given)  # type: ignore[arg-type]
