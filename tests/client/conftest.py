"""Fixtures of the client's tests."""

from __future__ import annotations

import pytest

from tests.client.both import CONNECTORS, Connect


@pytest.fixture(params=list(CONNECTORS))
def connect(request: pytest.FixtureRequest) -> Connect:
    """Either client, called as if it would block."""
    return CONNECTORS[request.param]
