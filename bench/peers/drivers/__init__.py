"""One module per client library, each with `open_driver(target)`; see `bench.peers.contract`."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from bench.peers.contract import Driver, Target


def open_driver(target: Target) -> Driver:
    """The driver for a target. Raises `ImportError` where its client library is missing."""
    module = importlib.import_module(f"bench.peers.drivers.{target.driver}")
    make: Callable[[Target], Driver] = module.open_driver
    return make(target)
