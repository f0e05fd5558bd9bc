"""What may not be read is told as that: exit code 77, in one line."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.processes import TENURE, TIMEOUT_S

# Root may read everything, unless it gives that up.
AS_ANYBODY = (
    ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    if os.geteuid() == 0
    else []
)

pytestmark = pytest.mark.skipif(
    bool(AS_ANYBODY) and shutil.which("setpriv") is None, reason="root without setpriv"
)


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A directory that nobody may enter or list."""
    path = tmp_path / "closed"
    path.mkdir()
    (path / "data.mdb").touch()
    path.chmod(0)
    yield path
    path.chmod(0o700)


@pytest.mark.parametrize(
    "words",
    [
        ["store", "info", "{closed}"],
        ["store", "verify", "{closed}"],
        ["store", "compact", "{closed}"],
        ["store", "info", "{closed}/below"],
        ["backup", "restore", "{closed}", "--data-dir", "{closed}-new"],
    ],
)
def test_a_directory_that_may_not_be_read(words: list[str], closed: Path) -> None:
    typed = [word.format(closed=closed) for word in words]
    done = subprocess.run(
        [*AS_ANYBODY, *TENURE, *typed], capture_output=True, text=True, timeout=TIMEOUT_S
    )

    assert done.returncode == 77, done.stderr
    assert done.stderr.startswith("error: ")
    assert "Permission denied" in done.stderr
    assert done.stderr.count("\n") == 1
