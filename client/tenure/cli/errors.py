"""What the command says, and exits with, when something goes wrong."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from tenure.errors import CannotConnect, InvalidUrl
from tenure_protocol.errors import BrokerError, ProtocolViolation, TenureError


class Exit(IntEnum):
    """The exit codes; those from 69 on are the ones of sysexits.h."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PARTIAL = 3
    NOT_FOUND = 4
    CONFLICT = 5
    UNREACHABLE = 69
    INTERNAL = 70
    TEMPORARY = 75
    PERMISSION = 77
    CONFIG = 78
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class CliError(Exception):
    """An outcome that ends the command: one line for a person, and an exit code."""

    def __init__(
        self, message: str, exit_code: Exit = Exit.FAILED, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.code = code

    def __str__(self) -> str:
        return f"{self.message} ({self.code})" if self.code else self.message


_BY_CODE = {
    "BAD_REQUEST": Exit.USAGE,
    "QUEUE_NOT_FOUND": Exit.NOT_FOUND,
    "JOB_NOT_FOUND": Exit.NOT_FOUND,
    "CHORE_NOT_FOUND": Exit.NOT_FOUND,
    "WORKER_NOT_FOUND": Exit.NOT_FOUND,
    "QUEUE_EXISTS": Exit.CONFLICT,
    "QUEUE_NOT_EMPTY": Exit.CONFLICT,
    "LEASE_LOST": Exit.CONFLICT,
    "UNSUPPORTED_PROTOCOL": Exit.UNREACHABLE,
    "HELLO_REQUIRED": Exit.UNREACHABLE,
    "MALFORMED_FRAME": Exit.UNREACHABLE,
    "INTERNAL": Exit.INTERNAL,
}


def exit_code_of(error: BaseException) -> Exit | None:
    """The exit code for an expected error; None when nobody expected it."""
    if isinstance(error, CliError):
        return error.exit_code
    if isinstance(error, BrokerError):
        known = _BY_CODE.get(error.code)
        if known is not None:
            return known
        return Exit.TEMPORARY if error.retryable else Exit.FAILED
    if isinstance(error, CannotConnect) and isinstance(error.__cause__, BrokerError):
        return exit_code_of(error.__cause__)
    if isinstance(error, InvalidUrl):
        return Exit.CONFIG
    if isinstance(error, ProtocolViolation):
        return Exit.UNREACHABLE
    if isinstance(error, TimeoutError):
        return Exit.TEMPORARY
    if isinstance(error, PermissionError):
        return Exit.PERMISSION
    if isinstance(error, FileNotFoundError):
        return Exit.NOT_FOUND
    if isinstance(error, ConnectionError):
        return Exit.UNREACHABLE
    return Exit.FAILED if isinstance(error, TenureError) else None


def closest(name: str, known: Iterable[str]) -> str | None:
    """The one of `known` that `name` was probably meant to be."""
    from difflib import get_close_matches

    found = get_close_matches(name, list(known), n=1)
    return found[0] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean "mail"?`, or nothing."""
    found = closest(name, known)
    return f'; did you mean "{found}"?' if found else ""
