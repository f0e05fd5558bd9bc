"""A real broker in a process of its own: what the test kit gives users is what our tests use."""

from __future__ import annotations

from tenure.testing.server_process import ServerProcess as BrokerProcess

__all__ = ["BrokerProcess"]
