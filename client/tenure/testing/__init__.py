"""The test kit: a broker inside a test, or beside it, as fixtures of a pytest plugin.

The fixtures are in `tenure.testing.plugin`, which pytest loads by itself. Without pytest:

    with in_process_broker() as broker:
        send_email.enqueue("ada@example.org")
        broker.run_until_idle()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenure.testing.broker import TestBroker, in_process_broker
    from tenure.testing.server_process import ServerProcess
    from tenure.testing.views import JobView

__all__ = ["JobView", "ServerProcess", "TestBroker", "in_process_broker"]

_LAZY = {
    "JobView": "tenure.testing.views",
    "ServerProcess": "tenure.testing.server_process",
    "TestBroker": "tenure.testing.broker",
    "in_process_broker": "tenure.testing.broker",
}


def __getattr__(name: str) -> object:
    # pytest imports this package in every run, whether a test uses it or not.
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(module), name)
    return value
