"""The engine: the rules of the broker, as a deterministic state machine.

No clock, no I/O, no asyncio, no randomness in here: time and random numbers are arguments,
replies and batches are results. `engine.Engine` is the only door.
"""

from tenure_server.engine.engine import OPERATIONS, Engine
from tenure_server.engine.types import EngineLimits, Event, Now, Reply, Sealed, Session

__all__ = ["OPERATIONS", "Engine", "EngineLimits", "Event", "Now", "Reply", "Sealed", "Session"]
