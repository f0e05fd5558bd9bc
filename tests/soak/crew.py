"""The processes of a soak: producers, workers and a keeper, each with a log and a trail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEASE_S = 3.0
STOP_S_MAX = 90.0

KINDS = {"p": "producer", "c": "producer", "w": "client worker", "t": "worker", "k": "keeper"}
"""What a process is, by the first letter of its name."""

_MODULES = {"p": "produce", "c": "call", "w": "consume", "k": "keep"}


@dataclass(slots=True)
class Crew:
    """All of them. A place ("w1") is held by one process after the other ("w1", "w1b2", ...)."""

    url: str
    directory: Path
    rate: float
    seed: int
    places: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    _started: int = 0

    def start(self, place: str) -> None:
        """Starts a process for a place, under a name and a seed that nobody had."""
        self._started += 1
        name = f"{place}b{self._started}"
        self.names[place] = name
        environment = {**os.environ, "SOAK_DIRECTORY": str(self.directory), "SOAK_NAME": name}
        with (self.directory / "crew.log").open("ab") as log:
            self.places[place] = subprocess.Popen(
                self._command(place, name), cwd=ROOT, env=environment, stdout=log, stderr=log
            )

    def _command(self, place: str, name: str) -> list[str]:
        kind = place[0]
        if kind == "t":
            options = ["--name", name, "--url", self.url, "--max-jobs-per-child", "5000"]
            pools = ["--pool", "io=async:16:tasks"]
            return [sys.executable, "-m", "tenure.worker", "tests.soak.app:app", *pools, *options]
        command = [sys.executable, "-m", f"tests.soak.{_MODULES[kind]}", self.url]
        command += [str(self.directory), name, str(self.seed * 1_000 + self._started)]
        if kind == "w":
            return [*command, str(LEASE_S)]
        return command if kind == "k" else [*command, str(self.rate)]

    def of(self, kinds: str) -> list[str]:
        """The places whose kind is one of these letters."""
        return [place for place in self.places if place[0] in kinds]

    def end(self, place: str, how: signal.Signals) -> None:
        """Ends the process of a place and waits for it; one that was asked must end with 0."""
        process = self.places.pop(place)
        if process.poll() is None:
            process.send_signal(how)
        try:
            code = process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self.faults.append(f"{self.names[place]} did not end in {STOP_S_MAX:.0f} s")
            return
        if code != (-signal.SIGKILL if how is signal.SIGKILL else 0):
            self.faults.append(f"{self.names[place]} ended with code {code}")

    def missing(self) -> list[str]:
        """The places whose process ended by itself."""
        return [place for place, process in self.places.items() if process.poll() is not None]

    def kill_all(self) -> None:
        """Ends everybody at once, whatever they do."""
        for process in self.places.values():
            if process.poll() is None:
                process.kill()
            process.wait()
        self.places.clear()

    def pids(self) -> Iterator[tuple[str, int]]:
        """The place and the process id of each."""
        for place, process in self.places.items():
            yield place, process.pid
