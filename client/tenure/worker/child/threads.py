"""Threads for `def` tasks: as many as there are jobs in them; they are kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

J = TypeVar("J")
O = TypeVar("O")  # noqa: E741 - an outcome


class Threads(Generic[J, O]):
    """Runs each job at once in a thread of its own; then `report(job, outcome)` in that thread.

    The parent's slots bound how many there are. A job that hangs keeps its thread; the next one gets
    another.
    """

    def __init__(self, run: Callable[[J], O], report: Callable[[J, O], None]) -> None:
        self._run_job = run
        self._report = report
        self._jobs: SimpleQueue[J] = SimpleQueue()
        self._lock = threading.Lock()
        self._free = 0
        self._made = 0

    def submit(self, job: J) -> None:
        """Run `job` in a thread. Neither its run nor its report may raise.

        Raises `RuntimeError` when the system gives no more threads.
        """
        with self._lock:
            is_short = self._free == 0
            if is_short:
                self._made += 1
            else:
                self._free -= 1
        if is_short:
            name = f"tenure-{self._made}"
            thread = threading.Thread(target=self._run, args=(job,), name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError:
                with self._lock:
                    self._made -= 1
                raise
        else:
            self._jobs.put(job)

    def _run(self, job: J) -> None:
        while True:
            outcome = self._run_job(job)
            # Free before it is reported: the report may bring the next job.
            with self._lock:
                self._free += 1
            self._report(job, outcome)
            job = self._jobs.get()
