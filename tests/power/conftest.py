"""What the tests of power cuts and errors share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.power import shim
from tests.power.zygote import Zygote


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """Starts what the tests need, under the shim."""
    if shim.compiler() is None:
        pytest.skip(shim.NO_COMPILER)
    with Zygote(shim.build(tmp_path_factory.mktemp("shim"))) as made:
        yield made
