"""What one run of the command knows: the broker's address, the way to print, who is asking."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from tenure.cli.errors import CliError, Exit, did_you_mean
from tenure_protocol.durations import duration_ms
from tenure_protocol.errors import QueueNotFound, TenureError

if TYPE_CHECKING:
    from tenure.client import Client

URL_DEFAULT = "tenure://localhost:7733"
TIMEOUT_DEFAULT = "10s"
OUTPUTS = ("table", "json", "ndjson")

CONNECT_PATIENCE_S = 5.0
"""How long commands that go through breaks wait for a broker that is not there."""

OpenClient = Callable[[str, float, bool], "Client"]
"""Makes a client from a URL, a time-out in seconds, and whether to go on through breaks."""


def _open(url: str, timeout_s: float, patient: bool) -> Client:
    from tenure.client import Client

    connect_s = min(timeout_s, CONNECT_PATIENCE_S) if patient else timeout_s
    return Client(url, timeout=timeout_s, connect_timeout=connect_s, reconnect=patient)


def _is_interactive() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


@dataclass(slots=True)
class Session:
    """The global options as given, and the doors to the outside that tests replace."""

    url: str | None = None
    timeout: str | None = None
    output: str | None = None
    no_color: bool = False
    quiet: bool = False
    open_client: OpenClient = _open
    is_interactive: Callable[[], bool] = _is_interactive

    @property
    def broker_url(self) -> str:
        """Where the broker is: `--url`, else TENURE_URL, else this machine."""
        return self.url or os.environ.get("TENURE_URL") or URL_DEFAULT

    def check_url(self) -> None:
        """Raise `InvalidUrl`, naming where the URL comes from, if it is none."""
        from tenure.address import addresses_of

        addresses_of(self.url, "--url")

    @property
    def timeout_s(self) -> float:
        """How long to wait for an answer, in seconds. Raises `CliError` for nonsense."""
        text = self.timeout or TIMEOUT_DEFAULT
        try:
            milliseconds = duration_ms(text, "--timeout")
        except ValueError as error:
            raise CliError(str(error), Exit.USAGE) from None
        if milliseconds == 0:
            raise CliError("--timeout must be more than nothing", Exit.USAGE)
        return milliseconds / 1000

    @property
    def format(self) -> str:
        """How to print: one of `OUTPUTS`. Raises `CliError` for a wrong TENURE_OUTPUT."""
        chosen = self.output or os.environ.get("TENURE_OUTPUT") or "table"
        if chosen not in OUTPUTS:
            allowed = ", ".join(OUTPUTS)
            raise CliError(f'TENURE_OUTPUT is "{chosen}"; use one of {allowed}', Exit.CONFIG)
        return chosen

    @contextmanager
    def broker(self, *, patient: bool = False) -> Iterator[Client]:
        """A client for the length of a `with`.

        Commands that ask once fail at once when there is no broker; a `patient` one waits
        for it a little, and goes on after its restart. A queue that is not found is told
        with the name it may have been meant to be.
        """
        self.check_url()
        try:
            client = self.open_client(self.broker_url, self.timeout_s, patient)
        except ValueError as error:
            raise CliError(str(error), Exit.CONFIG) from None
        try:
            yield client
        except QueueNotFound as error:
            raise _queue_not_found(client, error) from error
        finally:
            client.close()


def _queue_not_found(client: Client, error: QueueNotFound) -> Exception:
    context = click.get_current_context(silent=True)
    name = error.details.get("queue") or (context and context.params.get("queue"))
    if not isinstance(name, str):
        return error
    try:
        names = [info.name for info in client.queues()]
    except TenureError:
        return error
    return CliError(
        f'queue "{name}" not found{did_you_mean(name, names)}', Exit.NOT_FOUND, error.code
    )
