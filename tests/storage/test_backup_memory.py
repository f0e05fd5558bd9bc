"""What a backup took in memory is given back."""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.procfs import memory_of
from tenure import Client, NewJob
from tests.support.broker_process import BrokerProcess

BACKUPS = 10
MEGABYTES_MAX = 8
"""Two megabytes stay in all; they must not stay for every backup."""


def test_backups_one_after_the_other_take_no_more_memory(tmp_path: Path) -> None:
    with BrokerProcess(tmp_path) as broker, Client(broker.url, timeout="60s") as client:
        client.enqueue_many("work", [NewJob("work", bytes(200)) for _ in range(3_000)])
        client.backup("first")
        before = memory_of(broker.pid).anonymous_bytes

        for number in range(BACKUPS):
            shutil.rmtree(client.backup(f"backup-{number}").path)

        grown = memory_of(broker.pid).anonymous_bytes - before
        assert grown < MEGABYTES_MAX * 1_000_000
