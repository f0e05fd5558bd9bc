"""A start of the broker loads what it needs: each module more is a moment without service."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["rich"])
def test_a_start_does_not_load(module: str) -> None:
    code = f"import tenure_server.main, sys; sys.exit({module!r} in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_rich_can_be_loaded_after_the_broker_was() -> None:
    code = "import tenure_server.main, rich.console; rich.console.Console()"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
