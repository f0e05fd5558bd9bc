"""How many inputs, and that one failed. Imports nothing of the product: atheris wants to be first."""

from __future__ import annotations

from dataclasses import dataclass


class Failed(AssertionError):
    """A target has failed; the message says how to see it again."""


@dataclass(slots=True)
class Count:
    """What was done to one target."""

    inputs: int = 0
    measured: int = 0
    peak_bytes: int = 0
    seconds: float = 0.0
