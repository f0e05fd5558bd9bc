"""Faults that the images must find: one protection taken away at a time."""

from __future__ import annotations

from typing import NamedTuple

from tests.power.launch import SYNCED_LATE, UNSYNCED_NAMES


class Control(NamedTuple):
    """A protection taken away from a workload."""

    workload: str
    unsynced: str = ""
    """Syncs of files whose path contains this do nothing."""
    fault: str = ""
    """A fault planted in the process."""


CONTROLS = {
    "the journal is not synced": Control("one-by-one", unsynced="/journal"),
    "the journal is synced too late": Control("one-by-one", fault=SYNCED_LATE),
    "LMDB is not synced (small batches)": Control("everything", unsynced="/data.mdb"),
    "LMDB is not synced (large batches)": Control("batches", unsynced="/data.mdb"),
    "new names are not synced": Control("first-start", fault=UNSYNCED_NAMES),
}
"""By what they take away."""
