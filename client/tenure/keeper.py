"""The thread that keeps the idle connection of a blocking client alive."""

from __future__ import annotations

import threading
import weakref
from contextlib import suppress
from typing import Protocol

from tenure.errors import ClientClosed

_PAUSE_S_MAX = 3_600.0


class KeptAlive(Protocol):
    """What is looked after."""

    def keep_alive(self) -> float | None:
        """Look. The seconds until the next look; None: not before `wake`.

        Raises `ClientClosed` when there is nothing more to do.
        """
        ...


class Keeper:
    """Looks after a link, which it does not keep in memory, until the link is gone or closed."""

    def __init__(self, kept: KeptAlive) -> None:
        # A lock, for the interrupt of a thread that wakes must not leave it half done, as it
        # may leave a `threading.Event`.
        self._asleep = threading.Lock()
        self._asleep.acquire()
        reference = weakref.ref(kept, lambda _: self.wake())
        threading.Thread(
            target=self._look_after, args=(reference,), name="tenure-keep-alive", daemon=True
        ).start()

    def wake(self) -> None:
        """Look now. From one thread at a time."""
        if self._asleep.locked():
            with suppress(RuntimeError):
                self._asleep.release()

    def _look_after(self, reference: weakref.ref[KeptAlive]) -> None:
        while True:
            kept = reference()
            if kept is None:
                return
            try:
                pause_s = kept.keep_alive()
            except ClientClosed:
                return
            del kept
            self._asleep.acquire(
                timeout=_PAUSE_S_MAX if pause_s is None else min(pause_s, _PAUSE_S_MAX)
            )
