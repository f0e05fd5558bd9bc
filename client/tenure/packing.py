"""A msgpack packer for each thread: packers keep a buffer and must not be shared."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tenure_protocol.wire import new_packer

_local = threading.local()


def packer() -> Callable[[object], bytes]:
    """This thread's own `pack`."""
    try:
        found: Callable[[object], bytes] = _local.pack
    except AttributeError:
        found = _local.pack = new_packer()
    return found


def pack(value: Any) -> bytes:
    """`value` as msgpack. For what this library puts together, not for what a caller gave."""
    return packer()(value)
