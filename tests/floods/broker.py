"""The broker under the flood: a process of its own, and what the system says of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tenure.testing.server_process import ServerProcess

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Observed:
    """A running broker, and figures of its process."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.port = int(server.url.rpartition(":")[2])
        self.rss_peak_bytes = 0

    @property
    def rss_bytes(self) -> int:
        """The memory it has now."""
        found = int(Path(f"/proc/{self.server.pid}/statm").read_text().split()[1]) * _PAGE
        self.rss_peak_bytes = max(self.rss_peak_bytes, found)
        return found

    @property
    def cpu_s(self) -> float:
        """The processor time that it has used."""
        fields = Path(f"/proc/{self.server.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    @property
    def files(self) -> int:
        """Its open descriptors."""
        return len(os.listdir(f"/proc/{self.server.pid}/fd"))


@contextmanager
def observed_broker(directory: Path, settings: str = "") -> Iterator[Observed]:
    """A broker with these settings (TOML), gone at the end."""
    config = directory / "tenure.toml"
    config.write_text(settings)
    server = ServerProcess(directory, "--config", str(config))
    server.start()
    try:
        yield Observed(server)
    finally:
        server.kill()
