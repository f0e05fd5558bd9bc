"""What the machine itself can do at this moment, so that a figure can be read beside it."""

from __future__ import annotations

import os
import platform
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from bench.stats import percentile

BLOCK_BYTES = 4096
LIBRARIES = ("lmdb", "msgpack", "uvloop", "tenure")
MEMORY_FILESYSTEMS = frozenset({"tmpfs", "ramfs", "devtmpfs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpeed:
    """Latency of `fdatasync` after one 4 KiB write, in microseconds.

    `append`: the file grows. `overwrite`: it has its size already, so there is no metadata
    to write; that is what a store that re-uses its pages does.
    """

    append_p50_us: float
    append_p99_us: float
    overwrite_p50_us: float
    overwrite_p99_us: float


def measure_disk(directory: Path, samples: int) -> DiskSpeed:
    """Times `fdatasync` in `directory`; leaves nothing there."""
    append = _sync_latencies_us(directory, samples, True)
    overwrite = _sync_latencies_us(directory, samples, False)
    return DiskSpeed(
        append_p50_us=percentile(append, 0.5),
        append_p99_us=percentile(append, 0.99),
        overwrite_p50_us=percentile(overwrite, 0.5),
        overwrite_p99_us=percentile(overwrite, 0.99),
    )


def paused_sync_p50_us(directory: Path, samples: int, pause_seconds: float) -> float:
    """p50 of `fdatasync` (overwrite) when the machine has idled for a moment before each.

    Disks and processors take a while to wake up: a lone job pays for that too.
    """
    return percentile(_sync_latencies_us(directory, samples, False, pause_seconds), 0.5)


def _sync_latencies_us(
    directory: Path, samples: int, grow: bool, pause_seconds: float = 0.0
) -> list[float]:
    path = directory / ".fdatasync"
    block = os.urandom(BLOCK_BYTES)
    latencies: list[float] = []
    file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_TRUNC)
    try:
        if not grow:
            os.write(file, bytes(BLOCK_BYTES * samples))
            os.fsync(file)
            os.lseek(file, 0, os.SEEK_SET)
        for _ in range(samples):
            if pause_seconds:
                time.sleep(pause_seconds)
            os.write(file, block)
            begin = time.perf_counter()
            os.fdatasync(file)
            latencies.append((time.perf_counter() - begin) * 1e6)
    finally:
        os.close(file)
        path.unlink()
    return latencies


def loop_millions_per_s(turns: int = 300_000) -> float:
    """Turns of an empty Python loop per second, in millions.

    On a shared host the same core is half as fast at some times; this shows when.
    """
    begin = time.perf_counter()
    for _ in range(turns):
        pass
    return turns / (time.perf_counter() - begin) / 1e6


def filesystem_of(path: Path) -> str:
    """The type of the filesystem that holds `path` ("ext4", "tmpfs"), or "unknown"."""
    where = str(path.resolve())
    best, kind = "", "unknown"
    try:
        mounts = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return kind
    for line in mounts:
        _, mount, type_name, *_ = line.split()
        inside = where == mount or where.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, type_name
    return kind


def describe_machine(directory: Path) -> dict[str, object]:
    """What a reader must know to compare two results."""
    return {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "kernel": platform.release(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "filesystem": filesystem_of(directory),
        "libraries": {name: _version(name) for name in LIBRARIES},
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
