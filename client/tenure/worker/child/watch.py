"""A thread that keeps an eye on the pipe while the main thread may be busy with user code.

As a rule the main thread reads, which saves a hand-over for each job. This one sleeps, notices that the
parent has gone, and reads when the main thread has left something unread for a while, or when
somebody waits for an answer while the main thread is busy.
"""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress

from tenure.worker.child.wire import Wire, end_orphaned

PATIENCE_MS = 200
"""How long something may lie unread before this thread reads it."""

_GONE = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


class Watch:
    """The watch over one wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._nudge = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._expected = 0
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="tenure-watch", daemon=True).start()

    def expect(self) -> None:
        """An answer will come, and the thread that wants it will wait: read it as it comes."""
        with self._lock:
            self._expected += 1
        os.eventfd_write(self._nudge, 1)

    def met(self) -> None:
        """The answer has been read."""
        with self._lock:
            self._expected = max(self._expected - 1, 0)

    def _run(self) -> None:
        # Edge-triggered: it wakes once when something new has come, not as long as it is there.
        arrivals = select.epoll()
        arrivals.register(self._wire, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
        arrivals.register(self._nudge, select.EPOLLIN)
        # Level-triggered, and blind for what has come: it only sees the end, or the nudge.
        patience = select.poll()
        patience.register(self._wire, select.POLLRDHUP)
        patience.register(self._nudge, select.POLLIN)
        answers = select.poll()
        answers.register(self._wire, select.POLLIN | select.POLLRDHUP)
        while True:
            self._note(arrivals.poll())
            while self._expected:
                self._note(answers.poll())
                self._wire.read()
            self._note(patience.poll(PATIENCE_MS))
            self._wire.read()

    def _note(self, events: list[tuple[int, int]]) -> None:
        for number, event in events:
            if number != self._nudge:
                if event & _GONE:
                    end_orphaned()
            else:
                with suppress(BlockingIOError):  # taken already
                    os.eventfd_read(self._nudge)
