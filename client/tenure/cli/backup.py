"""`tenure backup`: a copy of the store while the broker works, and the way back."""

from __future__ import annotations

from pathlib import Path

import click

from tenure.cli.commands import Group, session_of
from tenure.cli.human import duration, moment, size
from tenure.cli.render import done, note
from tenure.cli.store import directory_path, offline


@click.group(cls=Group)
def backup() -> None:
    """Copy the store while the broker works; make a data directory of a copy."""


@backup.command("create")
@click.argument("name", required=False)
@click.option("--max-wait", default="1h", show_default=True, metavar="TIME", help="For the copy.")
@click.pass_context
def create_backup(context: click.Context, name: str | None, max_wait: str) -> None:
    """Have the broker write a compact, consistent copy below its backup directory.

    The broker goes on meanwhile. NAME names the copy; left out, the broker names it.
    """
    session = session_of(context)
    with session.broker() as client:
        made = client.backup(name, timeout=max_wait)
    done(
        session,
        f"{made.path} on the broker's disk: {size(made.bytes)} in {duration(made.ms)}",
        {"path": made.path, "bytes": made.bytes, "ms": made.ms},
    )


@backup.command("restore")
@click.argument("backup", type=directory_path)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="The new data directory; it must be missing or empty.",
)
@click.pass_context
def restore_backup(context: click.Context, backup: Path, data_dir: Path) -> None:
    """Make a data directory of a backup, on this machine and without a broker.

    The copy is checked against its checksum first. Start the broker on it afterwards:
    tenure server --data-dir DIR.
    """
    session = session_of(context)
    with offline(backup):
        from tenure_storage.backup import restore

        manifest = restore(backup, data_dir)
    done(
        session,
        f"restored the state of {moment(manifest.created_at_ms)}, {size(manifest.bytes)},"
        f" to {data_dir}",
        {
            "backup": str(backup),
            "data_dir": str(data_dir),
            "created_at_ms": manifest.created_at_ms,
            "bytes": manifest.bytes,
        },
    )
    note(session, f"next: tenure server --data-dir {data_dir}")
