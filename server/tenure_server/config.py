"""The settings of a broker: one frozen tree. Each setting carries its kind and whether a reload can change it.

    default  <  tenure.toml  <  TENURE_SECTION_NAME  <  --flag

`config_load` reads them, `config_show` prints them, `deploy/tenure.toml` explains them.
"""

# ruff: noqa: RUF009 (`_setting` makes a field; the rule takes it for a shared default)
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from tenure_protocol import DEFAULT_PORT, limits
from tenure_protocol.retry import DEFAULT_POLICY, DELAY_MS_MAX, policy_to_wire
from tenure_server.config_values import (
    Address,
    Kind,
    address,
    choice,
    duration,
    flag,
    path,
    retry_policy,
    size,
    whole,
)

KIB, MIB, TIB = 1 << 10, 1 << 20, 1 << 40
DAY_MS = 86_400_000
CENTURY_MS = 36_525 * DAY_MS
FRAME_ROOM_BYTES = 64 * KIB
"""What a frame must have beside the largest payload: headers, names, the request around it."""


def _setting(kind: Kind, default: object, *, live: bool = False, key: str = "") -> Any:
    return field(default_factory=lambda: default, metadata={"kind": kind, "live": live, "key": key})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of everything. Refusals name the limit."""

    connections: int = _setting(whole(1, 1_000_000), 10_000, live=True)
    frame_bytes_max: int = _setting(size(128 * KIB, 1 << 30), limits.FRAME_BYTES_MAX)
    payload_bytes_max: int = _setting(size(1, 1 << 29), limits.PAYLOAD_BYTES_MAX)
    result_bytes_max: int = _setting(size(0, 1 << 29), limits.RESULT_BYTES_MAX)
    jobs_per_request: int = _setting(
        whole(1, limits.JOBS_PER_REQUEST_MAX), limits.JOBS_PER_REQUEST_MAX
    )
    queues: int = _setting(whole(1, 1_000_000), 10_000, live=True)
    leases: int = _setting(whole(1, 100_000_000), 500_000, live=True)
    waiting: int = _setting(whole(1, 10_000_000), 20_000, live=True)
    waiting_per_connection: int = _setting(whole(1, 1_000_000), 1_024, live=True)
    requests_per_connection: int = _setting(whole(1, 1_000_000), 1_024, live=True)
    request_bytes_per_connection: int = _setting(size(64 * KIB, TIB), 32 * MIB, live=True)
    request_bytes_max: int = _setting(size(1 * MIB, TIB), 256 * MIB, live=True)
    outbound_bytes_max: int = _setting(size(64 * KIB, TIB), 8 * MIB, live=True)
    outbound_bytes_total: int = _setting(size(1 * MIB, TIB), 256 * MIB, live=True)
    window_bytes_max: int = _setting(size(64 * KIB, TIB), 4 * MIB, live=True)
    producer_rows: int = _setting(whole(1, 1_000_000_000), 1_000_000, live=True)
    metric_queues: int = _setting(whole(0, 100_000), 1_000, live=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long the broker waits for a peer, and for itself when it stops."""

    handshake_ms: int = _setting(duration(10, 3_600_000), 5_000, live=True, key="handshake")
    idle_ms: int = _setting(duration(30, DAY_MS), 90_000, live=True, key="idle")
    frame_ms: int = _setting(duration(10, 3_600_000), 30_000, live=True, key="frame")
    send_ms: int = _setting(duration(10, 3_600_000), 30_000, live=True, key="send")
    stop_ms: int = _setting(duration(0, 3_600_000), 10_000, live=True, key="stop")
    producer_ms: int = _setting(duration(60_000, CENTURY_MS), DAY_MS, live=True, key="producer")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where backups go and how large the store may become. 0 bytes: chosen from the free disk."""

    max_bytes: int = _setting(size(1 * MIB, 64 * TIB, automatic=True), 0)
    map_bytes: int = _setting(size(2 * MIB, 64 * TIB, automatic=True), 0)
    backup_dir: Path | None = _setting(path(optional=True), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """What a queue gets that nobody configured otherwise; existing queues keep theirs."""

    auto_create: bool = _setting(flag(), True, live=True)
    lease_ms: int = _setting(
        duration(limits.LEASE_MS_MIN, limits.LEASE_MS_MAX), 30_000, key="lease", live=True
    )
    max_attempts: int = _setting(whole(1, limits.ATTEMPTS_MAX), 5, live=True)
    retry: list[object] = _setting(retry_policy(), policy_to_wire(DEFAULT_POLICY), live=True)
    priority: int = _setting(whole(0, limits.PRIORITY_MAX), 128, live=True)
    max_jobs: int = _setting(whole(0, 1 << 53), 0, live=True)
    max_bytes: int = _setting(size(0, 64 * TIB), 0, live=True)
    retention_ms: int = _setting(duration(0, DELAY_MS_MAX), 0, key="retention", live=True)
    ended_retention_ms: int = _setting(
        duration(0, DELAY_MS_MAX), DAY_MS, key="ended_retention", live=True
    )
    dead_retention_ms: int = _setting(duration(0, DELAY_MS_MAX), 0, key="dead_retention", live=True)
    dlq: bool = _setting(flag(), True, live=True)
    poison_after: int = _setting(whole(0, 1_000), 3, live=True)
    durability: str = _setting(choice("disk", "memory"), "disk", live=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is logged, and how it looks."""

    level: str = _setting(choice("debug", "info", "warning", "error"), "info", live=True)
    format: str = _setting(choice("auto", "console", "json"), "auto", live=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything a broker can be told."""

    listen: Address = _setting(address(), Address("127.0.0.1", DEFAULT_PORT))
    http: Address | None = _setting(address(optional=True), Address("127.0.0.1", 7780))
    data_dir: Path = _setting(path(), Path("tenure-data"))
    ephemeral: bool = _setting(flag(), False)
    port_file: Path | None = _setting(path(optional=True), None)
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    store: StoreSettings = field(default_factory=StoreSettings)
    queues: QueueSettings = field(default_factory=QueueSettings)
    log: LogSettings = field(default_factory=LogSettings)

    @property
    def backup_dir(self) -> Path:
        """Where backups are written: `store.backup_dir`, or `backups` in the data directory."""
        return self.store.backup_dir or self.data_dir / "backups"


SECTIONS: dict[str, type[Any]] = {
    "limits": Limits,
    "timeouts": Timeouts,
    "store": StoreSettings,
    "queues": QueueSettings,
    "log": LogSettings,
}
"""The tables of `tenure.toml`."""


class Setting(NamedTuple):
    """One setting: where it is in the tree, and how it is read."""

    section: str
    """The table it is in; empty for the top level."""
    key: str
    attribute: str
    kind: Kind
    live: bool
    """Whether a reload applies it; the others need a restart."""

    @property
    def name(self) -> str:
        """Its full name, such as "limits.connections"."""
        return f"{self.section}.{self.key}" if self.section else self.key

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return "TENURE_" + self.name.replace(".", "_").upper()

    def value_in(self, config: Config) -> Any:
        """Its value in `config`."""
        owner = getattr(config, self.section) if self.section else config
        return getattr(owner, self.attribute)


def _settings() -> Iterator[Setting]:
    for section, owner in (("", Config), *SECTIONS.items()):
        for each in fields(owner):
            if "kind" in each.metadata:
                yield Setting(
                    section,
                    each.metadata["key"] or each.name,
                    each.name,
                    each.metadata["kind"],
                    each.metadata["live"],
                )


SETTINGS: dict[str, Setting] = {setting.name: setting for setting in _settings()}
"""Every setting by its full name, in the order of the sample file."""


def contradictions(config: Config) -> Iterator[tuple[str, str]]:
    """Settings that are possible one by one but not together: (name, what is wrong)."""
    room = config.limits.frame_bytes_max - FRAME_ROOM_BYTES
    for name in ("payload_bytes_max", "result_bytes_max"):
        if getattr(config.limits, name) > room:
            yield (
                f"limits.{name}",
                f"must be at least {FRAME_ROOM_BYTES} bytes below limits.frame_bytes_max"
                f" ({config.limits.frame_bytes_max})",
            )
    store = config.store
    if store.map_bytes and store.max_bytes and store.map_bytes < store.max_bytes:
        yield ("store.map_bytes", f"must not be below store.max_bytes ({store.max_bytes})")
    if config.http is not None and config.http == config.listen and config.listen.port:
        yield ("http", f"must not be the address of listen ({config.listen})")


def with_live_settings(old: Config, new: Config) -> Config:
    """`old` with every setting that a reload can change taken from `new`."""
    sections = {
        section: replace(
            getattr(old, section),
            **{
                setting.attribute: setting.value_in(new)
                for setting in SETTINGS.values()
                if setting.section == section and setting.live
            },
        )
        for section in SECTIONS
    }
    return replace(old, **sections)
