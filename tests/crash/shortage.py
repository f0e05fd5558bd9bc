"""Memory, or the size that files may have, runs out while the broker is at work.

An allocation may fail anywhere: in a socket's callback, in the engine, in the store. Wherever
it does, nobody is told of anything that is not on the disk, and no half-broken broker goes on.
"""

from __future__ import annotations

import contextlib
import random
import resource
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tenure import Client, NewJob
from tenure.errors import JobNotFound, TenureError
from tenure_server import exits
from tests.crash.figures import Figures
from tests.crash.limits import MIB, limited, memory_bytes
from tests.crash.rig import Tell, verified
from tests.support.broker_process import BrokerProcess

CLIENTS = 4
REQUESTS = 30
SMALL_STORE = {"TENURE_STORE_MAX_BYTES": "512MiB"}
"""Its address space is 2 GiB."""
ENDS = (exits.IO_ERROR, exits.INTERNAL)


class Seen:
    """What clients know of their jobs."""

    def __init__(self) -> None:
        self.confirmed: set[str] = set()
        self.acked: set[str] = set()
        self.asked: set[str] = set()
        """Acks that were sent; without an answer they may have counted."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """What a broker gets too little of: so much more than it had when it was idle."""

    name: str
    which: int
    spare: int

    @contextlib.contextmanager
    def over(self, broker: BrokerProcess) -> Iterator[None]:
        """The broker is short of it within the block."""
        base = {"data": "VmData", "address space": "VmSize"}.get(self.name)
        most = self.spare + (memory_bytes(broker.pid, base) if base else 0)
        with limited(broker.pid, self.which, most):
            yield


def data(spare_mib: int) -> Shortage:
    """Memory of its own."""
    return Shortage("data", resource.RLIMIT_DATA, spare_mib * MIB)


def address_space(spare_mib: int) -> Shortage:
    """Addresses, files that are mapped included."""
    return Shortage("address space", resource.RLIMIT_AS, spare_mib * MIB)


def file_size(most_mib: int) -> Shortage:
    """The length of a file; the journal has 8 MiB from the start."""
    return Shortage("file size", resource.RLIMIT_FSIZE, most_mib * MIB)


def under_load(broker: BrokerProcess, seed: int) -> Seen:
    """What clients have seen when all are through, or the broker is gone."""
    seen = Seen()
    clients = [
        threading.Thread(target=_load, args=(broker, random.Random(seed + number), seen))
        for number in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return seen


def _load(broker: BrokerProcess, rng: random.Random, seen: Seen) -> None:
    with Client(broker.url, codec="raw", timeout="5s", reconnect=False) as client:
        for _ in range(REQUESTS):
            size, count = rng.choice([100, 200_000, 900_000]), rng.choice([1, 4, 8])
            payloads = [rng.randbytes(size) for _ in range(count)]
            try:
                ids = client.enqueue_many("work", [NewJob("work", each) for each in payloads])
                seen.confirmed.update(ids)
                jobs = client.reserve("work", max_jobs=3)
                seen.asked.update(job.id for job in jobs)
                for job in jobs:
                    client.ack(job)
                    seen.acked.add(job.id)
            except TenureError:
                # Refused, or unknown: nothing was confirmed.
                if not broker.running:
                    return


def ended_or_serves(broker: BrokerProcess) -> int | None:
    """The exit code of a broker that ended; None if it lived and answered, and was killed now.

    One that lives and does not answer raises.
    """
    with contextlib.suppress(TenureError), Client(broker.url, timeout="10s") as client:
        client.ping()
        broker.kill()
        return None
    return broker.wait()


def check(broker: BrokerProcess, seen: Seen, figures: Figures) -> None:
    """The store is sound; everything confirmed is there, and nothing that was acked."""
    verified(broker.data_dir, figures)
    figures.counts.update(confirmed=len(seen.confirmed), ack=len(seen.acked))
    with broker.start(), Client(broker.url, timeout="30s") as client:
        for job_id in seen.confirmed | seen.acked:
            there = _is_there(client, job_id)
            if not there and job_id not in seen.asked:
                figures.blame("nothing lost", f"{job_id} was confirmed and is not there")
            if there and job_id in seen.acked:
                figures.blame("no confirmed ack comes back", f"{job_id} was acked and is there")
        client.enqueue("work", "it works on")


def _is_there(client: Client, job_id: str) -> bool:
    try:
        client.get(job_id)
    except JobNotFound:
        return False
    return True


def run_short(rounds: int, place: Path, rng: random.Random, figures: Figures, tell: Tell) -> None:
    """Another kind of shortage each round, sooner or later after the start."""
    for index in range(rounds):
        kinds = [data(rng.randrange(1, 90)), address_space(rng.randrange(4, 90)),
                 file_size(rng.randrange(9, 24))]  # fmt: skip
        shortage = kinds[index % len(kinds)]
        end_short(shortage, place / f"round{index}", rng.randrange(1 << 30), figures)
        figures.rounds += 1
        tell(f"round {index + 1}/{rounds}: {figures.told()}")


def end_short(shortage: Shortage, place: Path, seed: int, figures: Figures) -> int | None:
    """A broker that runs short under load, and what became of what it confirmed; its exit code."""
    broker = BrokerProcess(place, environment=SMALL_STORE).start()
    try:
        with shortage.over(broker):
            seen = under_load(broker, seed)
            code = ended_or_serves(broker)
    finally:
        broker.kill()
    figures.counts[f"{shortage.name}: {'it went on' if code is None else f'ended {code}'}"] += 1
    if code is not None and code not in ENDS:
        figures.blame("ends", f"with {code}:\n{broker.log[-3000:]}")
    check(broker, seen, figures)
    return code
