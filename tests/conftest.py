"""Options of the test run."""

from __future__ import annotations

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rounds",
        type=int,
        default=int(os.environ.get("ROUNDS", "20")),
        help="how often the kill -9 test kills the broker (default: $ROUNDS or 20)",
    )
