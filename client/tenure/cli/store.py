"""`tenure store`: data directories, offline: verify, describe, compact."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenure.cli.commands import Group, session_of
from tenure.cli.errors import CliError, Exit, exit_code_of
from tenure.cli.fields import plain
from tenure.cli.human import count, many, moment, size
from tenure.cli.render import Column, done, pairs, put, show, styled, table
from tenure.cli.server import need_extra

if TYPE_CHECKING:
    from rich.console import Console


_FINDINGS_SHOWN_MAX = 50

# Click would call what may not be read a wrong usage; `offline` knows what it is.
directory_path = click.Path(path_type=Path, readable=False)
directory_argument = click.argument("directory", type=directory_path, metavar="DIR")


@click.group(cls=Group)
def store() -> None:
    """Verify, describe or compact a data directory that no broker is using.

    For a copy of a store that is in use, see tenure backup create.
    """


@contextlib.contextmanager
def offline(directory: Path) -> Iterator[None]:
    """Raises `CliError` for what the store's tools refuse, and when `directory` is missing."""
    need_extra(("lmdb",), "tenure store")
    from tenure_storage.store import StoreError, StoreLocked

    try:
        if not directory.is_dir():
            what = "is not a directory" if directory.exists() else "does not exist"
            raise CliError(f"{directory} {what}", Exit.NOT_FOUND)
        yield
    except StoreError as error:
        code = Exit.CONFLICT if isinstance(error, StoreLocked) else Exit.FAILED
        if isinstance(error.__cause__, PermissionError):
            code = Exit.PERMISSION
        raise CliError(str(error), code) from error
    except OSError as error:
        what = f"{error.strerror or error} ({error.filename or directory})"
        raise CliError(
            f"{directory} cannot be used: {what}", exit_code_of(error) or Exit.FAILED
        ) from error


@store.command("verify")
@directory_argument
@click.pass_context
def verify_store(context: click.Context, directory: Path) -> None:
    """Check every page, every row's checksum, every count and every link of a store.

    Exit code 0 when it is sound, 1 when it is not: then each error says what is wrong and
    where. Notes are worth knowing and break nothing.
    """
    session = session_of(context)
    with offline(directory):
        from tenure_storage.verify import verify

        report = verify(directory)
    record: dict[str, Any] = {
        "path": str(directory),
        "sound": report.sound,
        "rows": report.rows,
        "error_counts": report.error_counts,
        "note_counts": report.note_counts,
        "errors": [asdict(finding) for finding in report.errors],
        "notes": [asdict(finding) for finding in report.notes],
    }
    show(session, record, lambda screen: _draw_report(screen, record))
    if not report.sound:
        total = sum(report.error_counts.values())
        raise CliError(f"the store in {directory} has {many(total, 'error')}", Exit.FAILED)


def _draw_report(screen: Console, record: dict[str, Any]) -> None:
    columns = (Column("KIND"), Column("TABLE"), Column("KEY", whole=True), Column("WHAT"))
    for title, style in (("errors", "red"), ("notes", "yellow")):
        total = sum(record[f"{title.removesuffix('s')}_counts"].values())
        if not total:
            continue
        put(screen, styled(f"{count(total)} {title}", f"bold {style}"))
        shown = record[title][:_FINDINGS_SHOWN_MAX]
        rows = [[each["kind"], each["table"], each["key"], each["what"]] for each in shown]
        put(screen, table(screen, columns, rows))
        if total > len(shown):
            put(screen, styled(f"and {count(total - len(shown))} more (see -o json)"))
    rows_seen = ", ".join(f"{count(n)} {name}" for name, n in record["rows"].items() if n)
    sound = record["sound"]
    verdict = styled("sound", "green") if sound else styled("not sound", "red")
    put(
        screen,
        styled(f"{record['path']}: ").append(verdict).append(f" ({rows_seen or 'not read'})"),
    )


@store.command("info")
@directory_argument
@click.pass_context
def store_info(context: click.Context, directory: Path) -> None:
    """Show what a store is and holds, without reading its jobs."""
    session = session_of(context)
    with offline(directory):
        from tenure_storage.verify import info

        found = info(directory)
    entries = ", ".join(f"{count(n)} {name}" for name, n in found["entries"].items() if n)
    facts = [
        ("Path", str(found["path"])),
        ("Format", f"{found['format']} (LMDB {found['lmdb']})"),
        ("Created", moment(found["created_at_ms"])),
        ("Last write", f"{moment(found['clock_ms'])} (batch {found['batch']})"),
        ("File", size(found["file_bytes"])),
        ("In use", f"{size(found['used_bytes'])}; {size(found['free_bytes'])} free inside"),
        ("Queues", ", ".join(found["queues"]) or "none"),
        ("Rows", entries or "none"),
    ]
    show(session, plain(found), lambda screen: put(screen, pairs(facts)))


@store.command("compact")
@directory_argument
@click.pass_context
def compact_store(context: click.Context, directory: Path) -> None:
    """Give the disk back what a store no longer uses. The disk must have room for a copy."""
    session = session_of(context)
    with offline(directory):
        from tenure_storage.compact import compact

        before, after = compact(directory)
    done(
        session,
        f"{directory}: {size(before)} before, {size(after)} after",
        {"path": str(directory), "before_bytes": before, "after_bytes": after},
    )
