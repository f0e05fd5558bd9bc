"""Getting between a journal and its disk, whichever way it writes."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tenure_storage import direct, journal


def replace_syncs(
    monkeypatch: pytest.MonkeyPatch, instead: Callable[[Callable[[], object]], object]
) -> None:
    """Calls `instead(sync)` wherever a journal waits for its disk, where `sync` would do that."""

    def synced(handle: int) -> None:
        instead(lambda: os.fdatasync(handle))

    def written(handle: int, data: memoryview, at: int) -> int:
        instead(lambda: os.pwrite(handle, data, at))
        return len(data)

    monkeypatch.setattr(journal, "sync_data", synced)
    monkeypatch.setattr(direct, "write_synced", written)
