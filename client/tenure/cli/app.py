"""The root of the command line: every command, in the order of its help.

Only names and one-line helps live here. A command's module is imported when it is called:

    app ──► commands, session            always
     └────► queue, job, enqueue, …       the one that runs
             └───► render ──► rich       when it prints a table
"""

from __future__ import annotations

import click

from tenure.cli.commands import Entry, Root

SECTIONS = {
    "Broker": {
        "server": Entry("tenure.cli.server:server", "Run a broker in the foreground."),
        "ping": Entry("tenure.cli.broker:ping", "Measure the round trip to the broker."),
        "status": Entry("tenure.cli.status:status", "The broker on one screen, with warnings."),
        "top": Entry("tenure.cli.top:top", "Watch the queues, live."),
        "drain": Entry("tenure.cli.broker:drain", "Take no new work, or take it again (--off)."),
    },
    "Jobs": {
        "enqueue": Entry("tenure.cli.enqueue:enqueue", "Enqueue one job, or many from NDJSON."),
        "job": Entry("tenure.cli.job:job", "Look at jobs, wait for them, cancel them."),
    },
    "Workers": {
        "worker": Entry("tenure.cli.worker:worker", "Run the jobs of an app."),
        "dev": Entry("tenure.cli.dev:dev", "A broker and a worker that reloads, in one terminal."),
        "workers": Entry("tenure.cli.workers:workers", "Who works here: look, quiet, stop."),
    },
    "Queues": {
        "queue": Entry("tenure.cli.queue:queue", "List, create, set, pause, purge, delete queues."),
        "dlq": Entry("tenure.cli.dlq:dlq", "Dead jobs: inspect, group, replay, purge."),
        "chore": Entry("tenure.cli.chore:chore", "Background work of the broker: follow, cancel."),
    },
    "Data": {
        "backup": Entry(
            "tenure.cli.backup:backup", "Copy the store while it works; restore a copy."
        ),
        "store": Entry("tenure.cli.store:store", "Verify, describe or compact a data directory."),
    },
    "Other": {
        "version": Entry("tenure.cli.broker:version", "Versions of this client and the broker."),
        "completion": Entry("tenure.cli.completion:completion", "Tab completion for your shell."),
    },
}

_EPILOG = """\
\b
Examples:
  tenure server --data-dir ./data
  tenure enqueue mail send_email to=ada@example.org --delay 5m
  tenure dlq replay mail --error TimeoutError --rate 50/s --dry-run

\b
Exit codes:
  0 done          1 failed           2 wrong usage     3 done in part
  4 not found     5 conflict        69 no broker      70 internal error
 75 try again    77 not permitted   78 configuration 130 interrupted
"""


@click.group(
    cls=Root,
    sections=SECTIONS,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(
    package_name="tenure", message="%(prog)s %(version)s", help="Show the version."
)
def cli() -> None:
    """Tenure holds jobs durably, leases them to workers, and never loses one.

    Every command but `server`, `store` and `backup restore` talks to a running broker.
    """
