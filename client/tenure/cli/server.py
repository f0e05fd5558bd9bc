"""`tenure server`: the daemon, in this process."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import click

from tenure.cli.errors import CliError, Exit

_NEEDED = ("lmdb", "structlog", "starlette", "uvicorn", "prometheus_client")

_EPILOG = """\
\b
Settings come from, later ones winning:
  defaults < tenure.toml (--config) < TENURE_… variables < flags

\b
Signals:
  TERM, INT   stop: answer what is in flight, commit, close; again: stop at once
  HUP         read the configuration again

\b
Examples:
  tenure server --data-dir /var/lib/tenure
  tenure server --ephemeral --listen 127.0.0.1:0 --port-file ports.json
  tenure server --config tenure.toml --check-config
"""


def need_extra(modules: tuple[str, ...], what: str) -> None:
    """Raises `CliError` that says what to install when one of `modules` is missing."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise CliError(
            f"{what} needs {', '.join(missing)}: install it with  pip install 'tenure[server]'",
            Exit.CONFIG,
        )


@click.command(epilog=_EPILOG)
@click.option(
    "-c", "--config", metavar="FILE", help="A tenure.toml with the settings.  [env TENURE_CONFIG]"
)
@click.option("--data-dir", metavar="DIR", help="Where jobs are kept; made if it is missing.")
@click.option("--listen", metavar="HOST:PORT", help="Where clients connect.  [127.0.0.1:7733]")
@click.option(
    "--http",
    metavar="HOST:PORT|off",
    help="Where metrics and health checks are served.  [127.0.0.1:7780]",
)
@click.option(
    "--ephemeral",
    is_flag=True,
    help="Keep everything in memory: lost when it stops.",
)
@click.option(
    "--log-format", type=click.Choice(["auto", "console", "json"]), help="How log lines look."
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="The least important lines to log.",
)
@click.option(
    "--port-file", metavar="FILE", help="Write where it listens there, as JSON, when ready."
)
@click.option("--check-config", is_flag=True, help="Check the settings, print them, and end.")
def server(**flags: object) -> None:
    """Run a broker in the foreground, until it gets TERM or INT.

    Jobs live in --data-dir and are fsynced before they are confirmed. One process owns a
    data directory at a time.
    """
    need_extra(_NEEDED, "tenure server")
    from tenure_server.main import main

    sys.exit(main(daemon_arguments(flags)))


def daemon_arguments(flags: dict[str, object]) -> list[str]:
    """The flags that were given, as the daemon reads them."""
    words: list[str] = []
    for name, value in flags.items():
        option = "--" + name.replace("_", "-")
        if value is True:
            words.append(option)
        elif isinstance(value, str):
            words += [option, value]
    return words
