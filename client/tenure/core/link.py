"""What both shells do when a connection comes and goes: the session and the dialer together."""

from __future__ import annotations

from tenure.core.reconnect import Dialer
from tenure.core.session import Session


def opening(session: Session, dialer: Dialer, now_ms: int) -> None:
    """A try to connect begins."""
    dialer.started(now_ms)
    session.address = str(dialer.address)


def no_connection(session: Session, dialer: Dialer, error: Exception, now_ms: int) -> None:
    """The try met `error`: everybody who waits fails if it was the last, else goes on waiting."""
    session.trouble = error
    final = dialer.failed(now_ms, error)
    if final is not None:
        session.fail_all(final)


def received(session: Session, dialer: Dialer, data: bytes, now_ms: int) -> None:
    """Bytes came. Raises what `Session.receive` raises."""
    was_greeting = session.state == "greeting"
    session.receive(data, now_ms)
    if was_greeting and session.state == "open":
        dialer.opened(now_ms)


def broken(session: Session, dialer: Dialer, error: Exception, now_ms: int) -> None:
    """The connection is gone, or must go, because of `error`."""
    was_open = session.state == "open"
    session.lost(error, now_ms)
    if was_open:
        dialer.lost(now_ms, error)
    else:
        no_connection(session, dialer, error, now_ms)


def torn(session: Session, dialer: Dialer, error: Exception, now_ms: int) -> None:
    """A step was interrupted, nobody knows where; if there was a connection, it was given up."""
    session.mend()
    if session.state != "closed":
        session.lost(error, now_ms)
        dialer.given_up(now_ms)
