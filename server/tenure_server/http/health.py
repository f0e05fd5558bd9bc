"""Is the broker alive, and should it get traffic? Each answer names its checks."""

from __future__ import annotations

from typing import NamedTuple

from tenure_server.hub import Hub

LAG_US_MAX = 5_000_000
"""A loop that came so late is stuck more than busy."""


class Check(NamedTuple):
    """One thing looked at."""

    name: str
    ok: bool
    says: str


def live(hub: Hub) -> list[Check]:
    """What must hold for the process to be worth keeping."""
    return [_loop(hub)]


def ready(hub: Hub) -> list[Check]:
    """What must hold for clients to be sent here."""
    latched = hub.pump.latched
    draining = hub.engine.draining or hub.stopping
    return [
        Check("store", not latched, "latched: a commit failed" if latched else "open"),
        Check("accepting", not draining, "draining" if draining else "yes"),
        _loop(hub),
        # A full store must stay reachable: acks, purges and deletes are what relieves it.
        Check("disk", True, hub.capacity.level),
    ]


def report(checks: list[Check]) -> dict[str, object]:
    """The checks as JSON: the overall answer, the failing ones, and what each says."""
    return {
        "ok": all(check.ok for check in checks),
        "failing": [check.name for check in checks if not check.ok],
        "checks": {check.name: {"ok": check.ok, "says": check.says} for check in checks},
    }


def _loop(hub: Hub) -> Check:
    lag_us = hub.counters.last_lag_us
    return Check("loop", lag_us < LAG_US_MAX, f"last lag {lag_us / 1000:.1f} ms")
