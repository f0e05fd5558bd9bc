"""One soak from its begin to its verdict."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.procfs import machine_busy_seconds
from tenure import Client, Retry
from tenure.errors import TenureError
from tests.soak.crew import KINDS, ROOT, Crew
from tests.soak.keep import QUEUES
from tests.soak.ledger import Ledger
from tests.soak.reconcile import OWN_PREFIX, look, reconcile
from tests.soak.sampling import (
    Sample,
    Sampled,
    latency_figures,
    process_figures,
    store_figures,
    with_children,
)
from tests.soak.schedule import Happening, happenings
from tests.soak.trail import TrailReader
from tests.support.broker_process import BrokerProcess

TURN_S = 0.25
STILL_S_MAX = 60.0
AUDIT_TRIES = 8
PATIENCE_S_MAX = 300.0
QUEUE_JOBS_MAX = 600
DRAIN_STILL_S_MAX = 40.0
"""A drain in which nothing has happened for so long has come to its end."""
STUCK_MS = 5_000
READY_S_MAX = 60.0
BROKER_SETTINGS = {"TENURE_TIMEOUTS_PRODUCER": "60s"}
"""Producers are forgotten within the run, or their rows would grow with it as they should."""

HARMLESS = ("did", "fault", "odd", "ended", "holding", "killed")
"""Lines that may come while everybody holds still."""

Say = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Soak:
    """A running soak. `planted` is the name of a fault of the broker, to see it found."""

    directory: Path
    seconds: float
    seed: int
    rate: float
    sample_s: float
    places: list[str]
    say: Say
    planted: str = ""
    ledger: Ledger = field(default_factory=Ledger)
    samples: list[Sampled] = field(default_factory=list)
    _disturbed: bool = True
    _stuck: set[str] = field(default_factory=set)
    _said: int = 0
    _holds: int = 0
    _busy: tuple[float, float] | None = None

    def run(self) -> None:
        """All of it. What was found is in `ledger` and `samples`."""
        self.directory.mkdir(parents=True, exist_ok=True)
        launcher = [sys.executable, "-m", "tests.soak.planted", self.planted]
        broker = BrokerProcess(
            self.directory,
            environment=BROKER_SETTINGS,
            launcher=launcher if self.planted else (),
        )
        reader = TrailReader(self.directory)
        with (
            start_patiently(broker),
            Client(broker.url, name="checker", timeout="20s", connect_timeout="20s") as client,
        ):
            make_queues(client)
            crew = Crew(broker.url, self.directory, self.rate, self.seed)
            try:
                for place in self.places:
                    crew.start(place)
                self._await_work(reader, crew)
                self._work(broker, client, crew, reader)
                self._drain(client, crew, reader)
            finally:
                crew.kill_all()
            code = end_patiently(broker, signal.SIGTERM)
            if code:
                self.ledger.blame("the broker ends in order", f"its exit code was {code}")
        for fault in crew.faults:
            self.ledger.blame("processes end in order", fault)
        self._verify(broker)

    # ---- the work --------------------------------------------------------------------------

    def _await_work(self, reader: TrailReader, crew: Crew) -> None:
        """Waits until everybody is at work: the clock of the run begins then."""
        end = time.monotonic() + READY_S_MAX
        kinds = {place[0] for place in self.places} - {"k"}
        seen: set[str] = set()
        while not kinds <= seen and time.monotonic() < end:
            for line in reader.lines():
                self.ledger.tell(line)
                seen.add(line["who"][0])
            self._check_crew(crew)
            time.sleep(0.02)

    def _work(self, broker: BrokerProcess, client: Client, crew: Crew, reader: TrailReader) -> None:
        begun = time.monotonic()
        todo = happenings(self.seconds, self.seed, self.places)
        next_sample = 0.0
        while (at_s := time.monotonic() - begun) < self.seconds:
            self._read(reader)
            self._check_crew(crew)
            if todo and todo[0].at_s <= at_s:
                self._happen(todo.pop(0), broker, client, crew, reader)
                self._disturbed = True
            elif at_s >= next_sample:
                next_sample = max(next_sample + self.sample_s, at_s)
                self._sample(at_s, broker, client, crew)
                self._look_for_stuck(client)
                self._disturbed = False
            time.sleep(TURN_S)

    def _happen(
        self,
        happening: Happening,
        broker: BrokerProcess,
        client: Client,
        crew: Crew,
        reader: TrailReader,
    ) -> None:
        at_s, what, place = happening
        if what == "audit":
            self._audit(client, crew, reader)
            return
        self.say(f"{at_s:7.1f} s: {what} {place}")
        if place == "broker":
            self.ledger.tell({"e": "broken", "t": time.monotonic(), "how": what})
            end_patiently(broker, signal.SIGKILL if what == "kill" else signal.SIGTERM)
            start_patiently(broker)
        else:
            name = crew.names[place]
            crew.end(place, signal.SIGKILL if what == "kill" else signal.SIGTERM)
            self._tell_end(place, name, what)
            crew.start(place)

    def _read(self, reader: TrailReader) -> int:
        """Tells the ledger what is new; how many lines were more than harmless."""
        lines = reader.lines()
        for line in lines:
            self.ledger.tell(line)
        self.ledger.forget(time.monotonic())
        for violation in self.ledger.violations[self._said :]:
            self.say(f"BROKEN {violation}")
        self._said = len(self.ledger.violations)
        return sum(line["e"] not in HARMLESS for line in lines)

    def _check_crew(self, crew: Crew) -> None:
        for place in crew.missing():
            name = crew.names[place]
            crew.end(place, signal.SIGTERM)
            self._tell_end(place, name, "end by itself")
            crew.start(place)

    def _tell_end(self, place: str, name: str, how: str) -> None:
        told = {"how": how, "whom": KINDS[place[0]], "name": name}
        self.ledger.tell({"e": "killed", "t": time.monotonic(), **told})

    # ---- what is looked at -------------------------------------------------------------------

    def _sample(self, at_s: float, broker: BrokerProcess, client: Client, crew: Crew) -> None:
        ledger = self.ledger
        figures: Sample = {"checker jobs": len(ledger.jobs)}
        lives = {"broker": broker.pid}
        busy_s, wall_s = machine_busy_seconds(), time.monotonic()
        if self._busy:
            passed_s = (wall_s - self._busy[1]) * len(os.sched_getaffinity(0))
            figures["machine busy %"] = 100 * (busy_s - self._busy[0]) / passed_s
        self._busy = (busy_s, wall_s)
        figures |= process_figures("broker", [broker.pid])
        figures |= process_figures("checker", [os.getpid()])
        for kind in dict.fromkeys(KINDS.values()):
            pids = [pid for place, pid in crew.pids() if KINDS[place[0]] == kind]
            everybody = [one for pid in pids for one in with_children(pid)]
            figures |= process_figures(kind, everybody)
            # As soon as one of them is another one, the sum begins anew.
            lives[kind] = sum(pids)
        figures |= store_figures(client, broker.data_dir)
        figures |= latency_figures("enqueue", ledger.enqueue_ms)
        figures |= latency_figures("start", ledger.start_ms)
        ledger.enqueue_ms.clear()
        ledger.start_ms.clear()
        sampled = Sampled(at_s=at_s, figures=figures, lives=lives, disturbed=self._disturbed)
        self.samples.append(sampled)
        with (self.directory / "samples.jsonl").open("a") as file:
            file.write(json.dumps(asdict(sampled)) + "\n")
        if len(self.samples) % 12 == 1:
            self.say(progress(at_s, self))

    def _look_for_stuck(self, client: Client) -> None:
        """A job that is ready beside a worker that waits, at two looks, is stuck."""
        try:
            queues = client.queues()
        except TenureError:
            return
        stuck = {
            queue.name
            for queue in queues
            if not queue.name.startswith(OWN_PREFIX)
            and queue.counts["ready"]
            and queue.waiting_reserves
            and (queue.oldest_ready_age_ms or 0) > STUCK_MS
        }
        for name in stuck & self._stuck if not self._disturbed else ():
            self.ledger.blame("nothing stuck", f"jobs of {name} are ready, and workers wait for it")
        self._stuck = stuck

    def _audit(self, client: Client, crew: Crew, reader: TrailReader) -> None:
        """Everybody holds still; the broker's contents, its counts and the ledger are compared."""
        hold, begun = self.directory / "hold", time.monotonic()
        self._holds += 1
        self.ledger.holding.clear()
        (self.directory / "hold.new").write_text(str(self._holds))
        (self.directory / "hold.new").rename(hold)
        still = self._await_still(client, crew, reader)
        for _ in range(AUDIT_TRIES if still else 0):
            shown = look(client)
            now, wall_ms = time.monotonic(), time.time() * 1e3
            if not self._read(reader):
                reconcile(self.ledger, shown, client, now, wall_ms)
                break
        else:
            self.ledger.counts["audits given up"] += 1
        hold.unlink()
        self._tell_workers(client, crew, "resume")
        took = time.monotonic() - begun
        self.say(f"audit of {len(self.ledger.jobs)} jobs in {took:.1f} s")

    def _await_still(self, client: Client, crew: Crew, reader: TrailReader) -> bool:
        """Waits until everybody has said that they hold still, and no task runs; whether so."""
        end = time.monotonic() + STILL_S_MAX
        quiet: set[str] = set()
        while time.monotonic() < end:
            self._read(reader)
            self._check_crew(crew)
            holding = self.ledger.holding
            everybody = all(
                holding.get(crew.names[place]) == self._holds for place in crew.of("pcwk")
            )
            workers = {crew.names[place] for place in crew.of("t")}
            quiet |= self._tell_workers(client, crew, "quiet") if workers - quiet else set()
            if everybody and workers <= quiet and not client.queue("tasks").counts["leased"]:
                self._read(reader)
                return True
            time.sleep(0.05)
        return False

    def _tell_workers(self, client: Client, crew: Crew, do: Any) -> set[str]:
        """Tells every `tenure worker`; the names of those that heard it."""
        heard = set()
        for place in crew.of("t"):
            # One that is about to start, or to connect again, does not hear it.
            with contextlib.suppress(TenureError):
                client.tell_worker(crew.names[place], do)
                heard.add(crew.names[place])
        return heard

    # ---- the end -----------------------------------------------------------------------------

    def _drain(self, client: Client, crew: Crew, reader: TrailReader) -> None:
        """No new jobs; everything that is there comes to an end, and is looked at a last time."""
        self.say("drain")
        for place in crew.of("pck"):
            crew.end(place, signal.SIGTERM)
        (self.directory / "drain").touch()
        end = time.monotonic() + DRAIN_STILL_S_MAX
        while left := sum(client.queue(name).jobs for name in QUEUES):
            if self._read(reader):
                end = time.monotonic() + DRAIN_STILL_S_MAX
            if time.monotonic() > end:
                self.ledger.blame("every job ends", f"{left} jobs are left after the drain")
                break
            time.sleep(0.1)
        self._audit(client, crew, reader)
        if not self.ledger.counts["audits"]:
            self.ledger.blame("counts equal contents", "no audit could be done")
        for job in self.ledger.open_jobs():
            if not job.buried:
                self.ledger.blame("every job ends", f"{job.key} ({job.id}) of {job.queue} has none")
        for place in crew.of("wt"):
            crew.end(place, signal.SIGTERM)

    def _verify(self, broker: BrokerProcess) -> None:
        command = [sys.executable, "-m", "tenure.cli", "store", "verify", str(broker.data_dir)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            self.ledger.blame("the store is whole", done.stdout[-2000:] + done.stderr[-2000:])


def start_patiently(broker: BrokerProcess) -> BrokerProcess:
    """Starts the broker. A machine that is busy with other things may take long for that."""
    broker.spawn()
    end = time.monotonic() + PATIENCE_S_MAX
    while True:
        try:
            return broker.wait_until_it_listens()
        except RuntimeError:
            if not broker.running or time.monotonic() > end:
                broker.kill()
                raise


def end_patiently(broker: BrokerProcess, how: signal.Signals) -> int:
    """Ends the broker and waits for it; its exit code."""
    os.kill(broker.pid, how)
    return broker.wait(PATIENCE_S_MAX)


def make_queues(client: Client) -> None:
    """The queues of the soak: short memories, so that all of it is forgotten within the run.

    They are bounded: where the machine is too busy for the pace, the producers slow down.
    """
    for name in QUEUES:
        client.create_queue(
            name,
            max_jobs=QUEUE_JOBS_MAX,
            max_attempts=4,
            retry=Retry.fixed("1s"),
            ended_retention="10s",
            poison_after=0 if name == "mixed" else 3,
        )


def progress(at_s: float, soak: Soak) -> str:
    """A line about how it goes."""
    figures, counts = soak.samples[-1].figures, soak.ledger.counts
    told = f"{at_s:7.1f} s: {counts['confirmed']} confirmed, {counts['deliveries']} delivered"
    told += f", {len(soak.ledger.jobs)} known, {counts['violations']} violations"
    shown: Sequence[tuple[str, str]] = (
        ("broker MB", "broker {:.1f} MB"),
        ("store used MB", "store {:.1f} MB"),
        ("enqueue p99 ms", "enqueue p99 {:.1f} ms"),
    )
    parts = [text.format(figures[name]) for name, text in shown if name in figures]
    return ", ".join([told, *parts])
