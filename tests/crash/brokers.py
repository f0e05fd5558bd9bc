"""The broker is killed: at work, at its start, while it stops; and paused for longer than leases."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tenure import Client
from tenure.errors import TenureError
from tests.acceptance.load import LEASE_S
from tests.crash.figures import Figures
from tests.crash.rig import (
    Rig,
    Tell,
    acts,
    ended_within,
    sleep_s,
    under_load,
    verified,
    wait_to_kill,
)
from tests.support.broker_process import BrokerProcess

ACT_ROUNDS = 25
VERIFY_EVERY = 3
SWEEP_STEPS = 32
"""Kills at starts and stops go through their whole length in so many steps."""
STOP_S = 0.15
"""Kills of a stopping broker are spread over this."""

Round = Callable[[Rig, int], None]


def _rounds(rounds: int, place: Path, rng: random.Random, figures: Figures, tell: Tell,
          one: Round) -> None:  # fmt: skip
    for directory, indexes in acts(rounds, ACT_ROUNDS, place):
        with under_load(figures, directory, rng) as rig:
            for index in indexes:
                one(rig, index)
                rig.disturb(index)
                figures.rounds += 1
                tell(f"round {index + 1}/{rounds}: {rig.since_last()}")


def kill_at_work(
    rounds: int, place: Path, rng: random.Random, figures: Figures, tell: Tell
) -> None:
    """At random moments of its work, and sometimes again, and again, while it recovers."""

    def one(rig: Rig, index: int) -> None:
        rig.progress()
        rig.kill()
        while rng.random() < 0.2:
            rig.kill_while_starting(rng.random(), with_the_store=rng.random() < 0.7)
            figures.counts["again while it recovered"] += 1
        if index % VERIFY_EVERY == 0:
            rig.verify()
        rig.back()

    _rounds(rounds, place, rng, figures, tell, one)


def kill_at_start(
    rounds: int, place: Path, rng: random.Random, figures: Figures, tell: Tell
) -> None:
    """A little later at every start, through the whole of it; with a tail to recover, and new."""

    def one(rig: Rig, index: int) -> None:
        # The steps come in an order that is spread over the whole from the beginning.
        step = (index * 13) % SWEEP_STEPS
        rig.progress()
        rig.kill()
        share = (step + rng.random()) / SWEEP_STEPS
        rig.kill_while_starting(share, with_the_store=bool(index % 2))
        rig.verify()
        _kill_first_start(rig, index, share)
        rig.back()

    _rounds(rounds, place, rng, figures, tell, one)


def _kill_first_start(rig: Rig, index: int, share: float) -> None:
    """The same where there is no data directory yet; the next start makes one that works."""
    figures = rig.figures
    broker = BrokerProcess(rig.place / f"new{index}")
    broker.spawn()
    wait_to_kill(broker, share, rig.start_s, figures, with_the_store=bool(index % 4 // 2))
    broker.kill()
    figures.kills += 1
    with broker, Client(broker.url) as client:
        client.enqueue("new", "first")
        [job] = client.reserve("new")
        client.ack(job)
        broker.kill()
    verified(broker.data_dir, figures)


def kill_while_stopping(
    rounds: int, place: Path, rng: random.Random, figures: Figures, tell: Tell
) -> None:
    """SIGTERM, and SIGKILL a random moment later; sometimes it takes no new work before that."""

    def one(rig: Rig, index: int) -> None:
        rig.progress()
        if rng.random() < 0.3:
            _drain(rig)
        os.kill(rig.broker.pid, signal.SIGTERM)
        ended = ended_within(rig.broker, rng.random() * STOP_S)
        figures.counts["ended before the kill" if ended == 0 else "killed while it stopped"] += 1
        if ended not in (None, 0):
            figures.blame("stops", f"it ended with {ended}:\n{rig.broker.log}")
        rig.kill()
        rig.verify()
        rig.back()

    _rounds(rounds, place, rng, figures, tell, one)


def _drain(rig: Rig) -> None:
    try:
        with Client(rig.broker.url, timeout="5s") as client:
            client.drain()
    except TenureError as error:
        rig.figures.blame("drains", repr(error))
    rig.figures.counts["drained before"] += 1


def pause(rounds: int, place: Path, rng: random.Random, figures: Figures, tell: Tell) -> None:
    """Stopped for longer than leases, as by a debugger or a machine that swaps; sometimes killed then."""

    def one(rig: Rig, index: int) -> None:
        rig.progress()
        os.kill(rig.broker.pid, signal.SIGSTOP)
        sleep_s(rng.uniform(0.5, 1.5) * LEASE_S)
        if rng.random() < 0.25:
            rig.kill()
            rig.verify()
            rig.back()
        else:
            began = time.monotonic()
            os.kill(rig.broker.pid, signal.SIGCONT)
            figures.counts["pauses"] += 1
            with Client(rig.broker.url, timeout="20s") as client:
                client.ping()
            figures.recovered_s.append(time.monotonic() - began)

    _rounds(rounds, place, rng, figures, tell, one)
