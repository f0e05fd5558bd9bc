"""CPU time, memory and disk space of processes, from /proc."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
DISK_BLOCK_BYTES = 512


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its ended children. 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / TICKS_PER_S


def run_seconds(pid: int) -> float:
    """Time on a processor of the threads that a process has now, to the microsecond.

    0 when it is gone. Where the kernel does not keep it, `cpu_seconds`.
    """
    ran_ns = 0
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):
                ran_ns += int((thread / "schedstat").read_text().split()[0])
    except OSError:
        return 0.0
    return ran_ns / 1e9 if ran_ns else cpu_seconds(pid)


def children_of(pid: int) -> list[int]:
    """The process ids of the children of a process."""
    children = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = stat.read_text().rsplit(")", 1)[1].split()[1]
            if int(parent) == pid:
                children.append(int(stat.parent.name))
    return sorted(children)


def own_cpu_seconds() -> float:
    """User and system time of this process, without its children."""
    times = os.times()
    return times.user + times.system


def machine_busy_seconds() -> float:
    """CPU time that the whole machine has spent on anything but idling and waiting for disks."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle, iowait = fields[3], fields[4]
    return (sum(fields) - idle - iowait) / TICKS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory of one process, in bytes.

    `pss` is everything it holds, pages shared with others counted by their share.
    `anonymous` leaves out mapped files: what the kernel cannot take back by itself.
    """

    pss_bytes: int
    anonymous_bytes: int


def memory_of(pid: int) -> Memory:
    """Memory of a running process. Raises `OSError` when it is gone."""
    fields: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, kilobytes, *_ = line.split()
        fields[name.rstrip(":")] = int(kilobytes) * 1024
    return Memory(pss_bytes=fields["Pss"], anonymous_bytes=fields["Pss_Anon"])


def disk_bytes(directory: Path) -> int:
    """Space that the files below `directory` take on the disk (holes are free)."""
    return sum(
        path.stat().st_blocks * DISK_BLOCK_BYTES for path in directory.rglob("*") if path.is_file()
    )
