"""`tenure enqueue`: one job from the command line, or many from NDJSON."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any

import click

from tenure.cli.commands import Command, duration_option, session_of
from tenure.cli.enqueuefile import Source, enqueue_file
from tenure.cli.errors import CliError, Exit
from tenure.cli.fields import job_fields
from tenure.cli.job import end_with_states, wait_until_ended
from tenure.cli.joboptions import JOB_OPTIONS, draft_job
from tenure.cli.jobtable import draw_job
from tenure.cli.queue import queue_argument
from tenure.cli.render import note, show, show_text
from tenure.cli.session import Session
from tenure.jobs import NewJob

WAIT_RETENTION = timedelta(minutes=10)
"""How long a job that is waited for is kept, so that its end cannot be missed."""

_EPILOG = """\
\b
The payload is one JSON value, or name=value pairs that make an object; a value that
is JSON is taken as such ("count=3" is a number, 'count="3"' a text):
  tenure enqueue mail send_email '{"to": "ada@example.org"}'
  tenure enqueue mail send_email to=ada@example.org retries=3 --delay 5m
  tenure enqueue reports build month=2026-11 --unique build-2026-11 --wait

\b
With --file, each line is one job; fields beside "task": payload, headers, and the
options above as priority, delay, run_at, max_attempts, retry, lease, expires, unique,
retention. TASK and the options given here are for the lines that do not say otherwise:
  {"task": "send_email", "payload": {"to": "ada@example.org"}, "delay": "5m"}
A file is checked as a whole before its first job is sent. Standard input (-) is sent as
it comes; it stops at the first bad line, whose number is told.
"""


@click.command(cls=Command, epilog=_EPILOG)
@queue_argument
@click.argument("task", required=False)
@click.argument("payload", nargs=-1, metavar="[PAYLOAD]...")
@click.option("--delay", metavar="TIME", help="Ready only after that time, such as 5m.")
@click.option("--run-at", metavar="WHEN", help="Ready only from then: 2026-12-24T18:00Z.")
@click.option("--priority", metavar="0-255|NAME", help="0 first; critical, high, normal or low.")
@click.option("--unique", metavar="NAME", help="No second unfinished job of that name.")
@click.option("--max-attempts", metavar="N", help="Tries before the job is dead.")
@click.option("--retry", metavar="POLICY", help="exponential:1s,4,1h, fixed:30s or steps:5s,1m.")
@click.option("--lease", metavar="TIME", help="How long a worker holds it.")
@click.option(
    "--expires", metavar="TIME", help="Ends as expired if it was not started in that time."
)
@click.option("--retention", metavar="TIME", help="Keep it and its result after it succeeded.")
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@click.option("--wait", is_flag=True, help="Wait for its end; exit 1 unless it succeeds.")
@click.option("--max-wait", metavar="TIME", help="With --wait: give up after so long (exit 75).")
@click.option("-f", "--file", "path", metavar="FILE", help="Jobs as NDJSON; - is standard input.")
@click.option(
    "--from-line", type=click.IntRange(1), default=1, metavar="N", help="Begin at that line."
)
@click.option("--keep-going", is_flag=True, help="Leave out bad lines, naming each (exit 3).")
@click.option("--dry-run", is_flag=True, help="Check everything, send nothing.")
@click.pass_context
def enqueue(context: click.Context, /, queue: str, **given: Any) -> None:
    """Enqueue one job, or many from a file, and print its id.

    The id is printed when the job is stored for good. A task is the name that workers know
    the work by.
    """
    session = session_of(context)
    options = {name: given[name] for name in JOB_OPTIONS if given[name] is not None}
    if given["headers"]:
        options["headers"] = _headers(given["headers"])
    if given["path"] is not None:
        if given["wait"] or given["payload"]:
            raise click.UsageError("--file goes with neither a payload nor --wait")
        source = Source(
            path=given["path"],
            task=given["task"],
            defaults=options,
            from_line=given["from_line"],
        )
        enqueue_file(
            session, queue, source, keep_going=given["keep_going"], dry_run=given["dry_run"]
        )
        return
    if given["keep_going"] or given["from_line"] != 1:
        raise click.UsageError("--keep-going and --from-line go with --file")
    if given["max_wait"] and not given["wait"]:
        raise click.UsageError("--max-wait goes with --wait")
    if given["task"] is None:
        raise click.UsageError("name the TASK, or give --file")
    if given["wait"]:
        options.setdefault("retention", f"{WAIT_RETENTION // timedelta(seconds=1)}s")
    job = _job({"task": given["task"], "payload": _payload(given["payload"]), **options})
    if given["dry_run"]:
        note(session, "the job is well formed; nothing was sent")
    elif given["wait"]:
        _enqueue_and_wait(session, queue, job, duration_option("--max-wait", given["max_wait"]))
    else:
        _enqueue_one(session, queue, job)


def _job(fields: dict[str, Any]) -> NewJob:
    try:
        return draft_job(fields)
    except ValueError as error:
        raise CliError(str(error), Exit.USAGE) from None


def _headers(words: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise CliError(f'--header "{word}" must be NAME=VALUE', Exit.USAGE)
        if name in found:
            raise CliError(f'--header "{name}" is given twice', Exit.USAGE)
        found[name] = value
    return found


def _payload(words: tuple[str, ...]) -> object:
    """The payload that the words make. Raises `CliError` (usage)."""
    if not words:
        return None
    if len(words) == 1:
        try:
            return json.loads(words[0])
        except (ValueError, RecursionError):
            if "=" not in words[0] or words[0][0] in '{["':
                raise CliError(
                    f"the payload {words[0][:60]!r} is neither JSON nor name=value", Exit.USAGE
                ) from None
    made: dict[str, object] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise CliError(f"in the payload, {word[:60]!r} is not name=value", Exit.USAGE)
        if name.endswith(":"):
            # As other tools write it: the job would be stored, and no task has such a parameter.
            hint = f"{name.rstrip(':')}={value}"
            raise CliError(
                f"in the payload, {word[:60]!r} has a colon too many: write {hint[:60]!r}; a value"
                " that is JSON is taken as such",
                Exit.USAGE,
            )
        if name in made:
            raise CliError(f'in the payload, "{name}" is given twice', Exit.USAGE)
        made[name] = _value(value)
    return made


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _enqueue_one(session: Session, queue: str, job: NewJob) -> None:
    with session.broker(patient=True) as client:
        job_id = client.enqueue(queue, job.task, job.payload, **_arguments(job))
    if job_id.existing:
        note(session, "an unfinished job has that unique name already; this is its id")
    record = {"id": str(job_id), "queue": queue, "existing": job_id.existing}
    show_text(session, record, [str(job_id)])


def _arguments(job: NewJob) -> dict[str, Any]:
    arguments: dict[str, Any] = dict(job.options)
    if job.headers:
        arguments["headers"] = job.headers
    return arguments


def _enqueue_and_wait(session: Session, queue: str, job: NewJob, limit_ms: int | None) -> None:
    deadline = None if limit_ms is None else time.monotonic() + limit_ms / 1000
    with session.broker(patient=True) as client:
        job_id = client.enqueue(queue, job.task, job.payload, **_arguments(job))
        note(session, f"enqueued {job_id}; waiting for its end")
        info = wait_until_ended(client, job_id, deadline)
    show(session, job_fields(info), lambda screen: draw_job(screen, info, traceback=True))
    end_with_states(session, [info])
