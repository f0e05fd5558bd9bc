"""Clients and `fork`: in the child each begins anew, before it does anything else.

With the parent's producer id and sequences, the child's enqueues would be taken for repeats
of the parent's and not be stored; and the connection is the parent's.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """What must begin anew in a child."""

    def forked(self) -> None:
        """Begin anew, touching nothing that is shared with the parent."""


_living: weakref.WeakSet[Forkable] = weakref.WeakSet()


def begin_anew_after_fork(one: Forkable) -> None:
    """Call `one.forked()` in every child of a fork, as long as `one` lives."""
    _living.add(one)


def _after_fork() -> None:
    for one in list(_living):
        one.forked()


os.register_at_fork(after_in_child=_after_fork)
