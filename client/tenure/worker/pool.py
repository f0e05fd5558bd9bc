"""A pool: its slots, and the crews among which its jobs are divided."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from tenure.worker.children import Child
from tenure.worker.crew import Crew
from tenure.worker.held import Held
from tenure.worker.pipe import HOST, ISOLATED, SINGLE, Role
from tenure.worker.slots import Slots
from tenure.worker.specs import PoolSpec


class Pool:
    """Where the jobs of some queues run.

    A pool of the kind `async` or `thread` has one host, and singles and isolated processes
    for the tasks that ask for them; one of the kind `process` runs everything in singles,
    but for isolated tasks.
    """

    def __init__(
        self,
        spec: PoolSpec,
        start: Callable[[Pool, Role], Child],
        begun: Callable[[list[Held]], None],
    ) -> None:
        self.spec = spec
        self.name = spec.name
        self.slots = Slots(spec.size, spec.prefetch)
        cores = os.cpu_count() or 1
        is_host = spec.kind != "process"

        def crew(role: Role, floor: int, most: int, ahead: int = 0) -> Crew:
            return Crew(
                role,
                floor=floor,
                most=most,
                ahead=ahead,
                slots=spec.size,
                start=lambda role: start(self, role),
                begun=begun,
            )

        singles = min(cores, spec.size) if is_host else spec.size
        self.singles = crew(SINGLE, 0 if is_host else singles, singles, spec.prefetch)
        self.isolated = crew(ISOLATED, 0, min(cores, spec.size))
        self.host = crew(HOST, 1, 1) if is_host else None
        self.main = self.singles if self.host is None else self.host
        self.crews = [self.main, self.isolated]
        if is_host:
            self.crews.append(self.singles)

    @property
    def children(self) -> list[Child]:
        """All its processes."""
        return [child for crew in self.crews for child in crew.children]

    @property
    def ready(self) -> bool:
        """Whether it can run jobs."""
        return bool(self.main.ready)

    def crew_of(self, child: Child) -> Crew:
        """The crew that a child belongs to."""
        if child.role == ISOLATED:
            return self.isolated
        return self.singles if child.role == SINGLE else self.main

    def count(self) -> None:
        """See how many jobs its children can run at a time."""
        if self.host is not None:
            fit = any(child.fit for child in self.host.ready)
            self.slots.ready = self.slots.size if fit else 0
        else:
            self.slots.ready = sum(child.fit for child in self.singles.ready)

    def route(self, held: Held, task: Mapping[str, Any] | None) -> Crew:
        """Where a job belongs. `task` is what the manifest says of it; None if it is unknown."""
        if held.alone:
            return self.isolated
        executor = None if task is None else task.get("executor")
        if executor == "isolated":
            return self.isolated
        return self.singles if executor == "process" else self.main

    def fill(self, now_ms: int) -> None:
        """Start the children that are missing."""
        for crew in self.crews:
            crew.fill(now_ms)

    def close(self) -> None:
        """Let every child finish and end, and start none."""
        for crew in self.crews:
            crew.close()
