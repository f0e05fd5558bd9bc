"""Whose turn it is: a test's own code, or that of a job which it runs."""

from __future__ import annotations

from contextvars import ContextVar

in_job: ContextVar[bool] = ContextVar("tenure.testing.in_job", default=False)
"""Whether this code was called by a job that the test's worker runs."""
