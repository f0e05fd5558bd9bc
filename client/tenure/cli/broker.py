"""`tenure ping`, `drain` and `version`: short exchanges with the broker."""

from __future__ import annotations

import sys
import time

import click

from tenure.cli.commands import Command, session_of
from tenure.cli.render import done, show_text
from tenure.cli.session import Session
from tenure_protocol import PROTOCOL_VERSION
from tenure_protocol.version import VERSION


@click.command(cls=Command)
@click.option(
    "-n", "--count", type=click.IntRange(1, 100_000), default=1, metavar="N", help="How many times."
)
@click.pass_context
def ping(context: click.Context, count: int) -> None:
    """Measure the round trip to the broker. Exit code 0 when it answers: a health check."""
    session = session_of(context)
    times_ms: list[float] = []
    with session.broker() as client:
        # The first exchange pays for the connection; it is not a round trip.
        client.ping()
        for _ in range(count):
            started = time.perf_counter()
            client.ping()
            times_ms.append(round((time.perf_counter() - started) * 1000, 3))
            if session.format == "table" and not session.quiet:
                click.echo(f"answer from {session.broker_url}: {times_ms[-1]:.2f} ms")
    record = {
        "url": session.broker_url,
        "count": count,
        "min_ms": min(times_ms),
        "median_ms": _median(times_ms),
        "max_ms": max(times_ms),
        "times_ms": times_ms,
    }
    summary = (
        "round trip: {min_ms:.2f} ms at least, {median_ms:.2f} ms median, {max_ms:.2f} ms at most"
    )
    if count > 1 or session.format != "table":
        done(session, summary.format(**record), record)


def _median(times_ms: list[float]) -> float:
    ordered = sorted(times_ms)
    middle = len(ordered) // 2
    return round((ordered[middle] + ordered[~middle]) / 2, 3)


@click.command(cls=Command)
@click.option("--off", is_flag=True, help="Take new work again.")
@click.pass_context
def drain(context: click.Context, off: bool) -> None:
    """Take no new jobs and give out none; jobs in hand can still be finished.

    To be used before a broker is stopped; --off ends it.
    """
    session = session_of(context)
    with session.broker() as client:
        draining = client.drain(off=off)
    sentence = "the broker is draining" if draining else "the broker takes new work again"
    done(session, sentence, {"draining": draining})


@click.command(cls=Command)
@click.option("--server", "ask", is_flag=True, help="Ask the broker for its version too.")
@click.pass_context
def version(context: click.Context, ask: bool) -> None:
    """Show the version of this client, and with --server that of the broker."""
    session = session_of(context)
    record: dict[str, object] = {
        "client": VERSION,
        "protocol": PROTOCOL_VERSION,
        "python": ".".join(map(str, sys.version_info[:3])),
    }
    lines = [f"tenure {record['client']} (protocol {PROTOCOL_VERSION}, Python {record['python']})"]
    if ask:
        record["server"] = _server_version(session)
        lines.append(f"server {record['server']} at {session.broker_url}")
    show_text(session, record, lines)


def _server_version(session: Session) -> str:
    with session.broker() as client:
        return str(client.stats()["server"])
