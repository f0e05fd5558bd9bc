"""Syncs are counted from what a tracer says of a server's system calls."""

from __future__ import annotations

import os
from pathlib import Path

from bench.peers.syncs import count, sync_descriptors

TRACE = """\
100 fdatasync(7) = 0
101 fsync(8 <unfinished ...>
100 write(5, ""..., 120) = 120
101 <... fsync resumed>) = 0
101 msync(0x7f00, 4096, MS_ASYNC) = 0
101 msync(0x7f00, 4096, MS_SYNC) = 0
100 pwrite64(9, ""..., 4096, 0) = 4096
101 openat(AT_FDCWD, ""..., O_WRONLY|O_CREAT|O_SYNC|O_CLOEXEC, 0640) = 12
100 writev(12, [{iov_base=""..., iov_len=9}], 1) = 9
100 pwritev2(12, [{iov_base=""..., iov_len=9}], 1, 0, 0) = 9
"""


def test_every_way_to_sync_is_counted_and_nothing_else() -> None:
    threads = {100: 100, 101: 100}

    counts = count(TRACE.splitlines(), {(100, 9)}, threads)

    assert counts == {"fdatasync": 1, "fsync": 1, "msync": 1, "O_SYNC write": 3}


def test_files_whose_writes_are_syncs_are_found_among_the_open_ones(tmp_path: Path) -> None:
    plain = os.open(tmp_path / "plain", os.O_WRONLY | os.O_CREAT)
    synced = os.open(tmp_path / "synced", os.O_WRONLY | os.O_CREAT | os.O_DSYNC)
    try:
        found = sync_descriptors([os.getpid()])
    finally:
        os.close(plain)
        os.close(synced)

    assert (os.getpid(), synced) in found
    assert (os.getpid(), plain) not in found
