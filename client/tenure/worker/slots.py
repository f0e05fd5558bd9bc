"""How many jobs a pool may ask for: its credit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Slots:
    """The places of one pool.

    - `size`: jobs that run at a time when everything is ready.
    - `prefetch`: jobs that may wait here for each that runs; 0: none is taken before its turn.
    - `ready`: jobs that the children which are ready can run at a time.
    - `held`: jobs that are here, running or waiting.
    """

    size: int
    prefetch: int = 0
    ready: int = 0
    held: int = 0

    @property
    def most(self) -> int:
        """How many jobs may be here just now."""
        return min(self.ready, self.size) * (1 + self.prefetch)

    @property
    def free(self) -> int:
        """How many jobs to ask for: never more than can begin at once, but for the prefetch."""
        return max(0, self.most - self.held)
