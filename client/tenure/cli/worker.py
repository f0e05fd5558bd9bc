"""`tenure worker`: runs the jobs of an app, in this process and its children."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from tenure.cli.commands import duration_option, session_of, usage_checked
from tenure.cli.errors import CliError, Exit
from tenure.cli.human import parse_size, size

if TYPE_CHECKING:
    from tenure.worker.options import WorkerOptions
    from tenure.worker.recycle import Limits

_EPILOG = """\
\b
Queues:
  -q mail,bulk        nothing of bulk while mail has a job
  -q mail=4,bulk=1    shared by weight

\b
Pools, each with its own queues and size:
  --pool process                       def and async def tasks, one at a time per process
  --pool io=async:200:mail,web --pool cpu=process:4:thumbs

\b
Signals:
  TERM, INT   finish the running jobs, up to --grace; again: give them back at once
  USR2        write the slots and the stacks of all processes to stderr

\b
Examples:
  tenure worker shop.tasks:app
  tenure worker shop.tasks:app -q mail=4,bulk=1 -c 100
  tenure worker shop.tasks:app --pool process -c 4 --max-rss 500MB
"""


@click.command(epilog=_EPILOG)
@click.argument("app", metavar="MODULE:APP")
@click.option(
    "-q", "--queues", multiple=True, metavar="QUEUES", help="What to work on.  [the app's queues]"
)
@click.option(
    "-c",
    "--concurrency",
    type=int,
    metavar="N",
    help="Jobs at a time.  [32; processes: one per core]",
)
@click.option(
    "--pool",
    "pools",
    multiple=True,
    metavar="KIND|NAME=KIND:SIZE[:QUEUES]",
    help="async, thread or process; or several pools.  [async]",
)
@click.option(
    "--prefetch",
    type=click.IntRange(0, 1000),
    default=0,
    metavar="N",
    help="Jobs that may wait here for each that runs.  [0: none is taken before its turn]",
)
@click.option("--reload", is_flag=True, help="Start again when a source file changes.")
@click.option("--burst", is_flag=True, help="End when the queues are empty.")
@click.option(
    "--grace",
    metavar="TIME",
    default="30s",
    show_default=True,
    help="How long running jobs may take after TERM.",
)
@click.option("--name", metavar="NAME", help="What the broker calls this worker.  [user@host/pid]")
@click.option(
    "--max-jobs-per-child",
    type=click.IntRange(1),
    metavar="N",
    help="Replace a process after N jobs.",
)
@click.option(
    "--max-rss", metavar="SIZE", help="Replace a process that uses more memory, such as 500MB."
)
@click.option("--max-age", metavar="TIME", help="Replace a process of that age, such as 1h.")
@click.option(
    "--heartbeat",
    metavar="TIME",
    default="5s",
    show_default=True,
    help="Extend leases at least so often.",
)
@click.option("--health", metavar="HOST:PORT", help="Answer GET /livez and /readyz there.")
@click.option(
    "--health-file", metavar="FILE", help="Keep a file there, renewed every 10 s while ready."
)
@click.option(
    "--app-dir", metavar="DIR", default=".", help="Where MODULE is looked for first.  [.]"
)
@click.option(
    "--log-format",
    type=click.Choice(["auto", "console", "json"]),
    default="console",
    help="How log lines look.",
)
@click.option(
    "--url", metavar="URL", help="The broker.  [env TENURE_URL, the app's own, this machine]"
)
@click.pass_context
def worker(context: click.Context, /, **given: Any) -> None:
    """Run the jobs of MODULE:APP until TERM, or with --burst until there are none.

    User code runs in child processes. A child that dies fails only its own job; leases are
    extended whatever user code does; TERM loses no job and uses up no attempt.
    """
    session = session_of(context)
    session.url = given["url"] = given["url"] or session.url
    if session.url:
        # Without --url the app's own comes before TENURE_URL, and only its processes know it.
        session.check_url()
    options: WorkerOptions = usage_checked(options_of, given)
    if options.health_file is not None:
        check_health_file(options.health_file)
    from tenure.worker.main import run_worker

    sys.exit(run_worker(options))


def options_of(given: dict[str, Any]) -> WorkerOptions:
    """The options as the worker takes them. Raises `ValueError` or `CliError`."""
    from tenure.settings import default_name
    from tenure.worker.health import parse_address
    from tenure.worker.options import HEARTBEAT_MS_MIN, WorkerOptions
    from tenure.worker.specs import check_queues, check_size, parse_pools, parse_queues
    from tenure_protocol.limits import CLIENT_NAME_CHARS_MAX

    if given["concurrency"] is not None:
        check_size(given["concurrency"], "--concurrency")
    name = given["name"] or default_name()
    if len(name) > CLIENT_NAME_CHARS_MAX:
        raise ValueError(f"--name must have at most {CLIENT_NAME_CHARS_MAX} characters")
    pools = tuple(parse_pools(given["pools"], given["concurrency"], given["prefetch"]))
    queues = parse_queues(",".join(given["queues"])) if given["queues"] else None
    return WorkerOptions(
        app=check_app(given["app"]),
        name=name,
        url=given["url"],
        queues=check_queues(queues, pools),
        pools=pools,
        app_dir=check_app_dir(given["app_dir"]),
        reload=given["reload"],
        burst=given["burst"],
        grace_ms=duration_option("--grace", given["grace"]) or 0,
        heartbeat_ms=_at_least(HEARTBEAT_MS_MIN, "--heartbeat", given["heartbeat"]) or 0,
        limits=_limits(given),
        health=None if given["health"] is None else parse_address(given["health"]),
        health_file=given["health_file"],
        log_format=given["log_format"],
    )


def _limits(given: dict[str, Any]) -> Limits:
    from tenure.worker.recycle import AGE_MS_MIN, RSS_BYTES_MIN, Limits

    text = given["max_rss"]
    max_rss = None if text is None else parse_size(text, "--max-rss")
    if max_rss is not None and max_rss < RSS_BYTES_MIN:
        raise ValueError(
            f"--max-rss {text!r} is {max_rss:,} bytes, less than any process uses: give at least"
            f" {size(RSS_BYTES_MIN)}, with its unit, such as 500MB"
        )
    return Limits(
        jobs_max=given["max_jobs_per_child"],
        rss_bytes_max=max_rss,
        age_ms_max=_at_least(AGE_MS_MIN, "--max-age", given["max_age"]),
    )


def _at_least(least_ms: int, name: str, text: str | None) -> int | None:
    """Milliseconds of a duration that must not be shorter. Raises `ValueError`."""
    from tenure_protocol.durations import format_ms

    value_ms = duration_option(name, text)
    if value_ms is not None and value_ms < least_ms:
        raise ValueError(f"{name} must be at least {format_ms(least_ms)}, not {text!r}")
    return value_ms


def check_health_file(path: str) -> None:
    """Raise `CliError` (configuration) if the file cannot be written: its probe would never pass."""
    from tenure.worker.health import HealthFile

    try:
        HealthFile(path).check()
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise CliError(f'--health-file "{path}" cannot be written: {why}', Exit.CONFIG) from None


def check_app_dir(path: str) -> str:
    """A directory as it is. Raises `CliError` (usage) for anything else."""
    if not os.path.isdir(path):
        raise CliError(f'--app-dir "{path}" is not a directory', Exit.USAGE)
    return path


def check_app(text: str) -> str:
    """MODULE:APP as it is. Raises `CliError` (usage) for anything else."""
    module, colon, name = text.partition(":")
    parts = [*module.split("."), *name.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        raise CliError(f"{text!r} is not MODULE:APP: write for example shop.tasks:app", Exit.USAGE)
    return text
