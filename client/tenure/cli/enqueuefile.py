"""`tenure enqueue --file`: many jobs, each line accounted for.

A file is read twice: first every line is checked, then they are sent. Standard input can
be read only once: it is sent in chunks as it comes, up to the first bad line. What was
stored is always told by line number, so that a broken run can be continued.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

import click

from tenure.cli.errors import CliError, Exit, exit_code_of
from tenure.cli.human import count, many, rate
from tenure.cli.ndjson import Line, read_jobs
from tenure.cli.progress import Progress, progress
from tenure.cli.render import done, note, show_text, to_json
from tenure.cli.session import Session
from tenure.errors import BrokerError, PartlyEnqueued, TenureError
from tenure_protocol.limits import PAYLOAD_BYTES_MAX

if TYPE_CHECKING:
    from tenure.client import Client

CHUNK_JOBS = 5_000
"""How many jobs are handed to the client at once."""

_LINES_PER_UPDATE = 500
_RANGES_TOLD_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where jobs come from: a file or standard input (`-`), and what its lines need not say."""

    path: str
    task: str | None
    defaults: dict[str, Any]
    from_line: int

    @property
    def name(self) -> str:
        """What messages call it."""
        return "standard input" if self.path == "-" else self.path


@dataclass(slots=True)
class Tally:
    """What became of the lines so far."""

    jobs: int = 0
    existing: int = 0
    blank: int = 0
    bad: int = 0
    unstored: list[int] = field(default_factory=list)
    """Lines of good jobs that were sent and not confirmed."""
    last_stored: int = 0
    """The last line whose job was confirmed."""
    next_line: int = 1
    """The line after the last one that was sent or passed over."""


def enqueue_file(
    session: Session, queue: str, source: Source, *, keep_going: bool, dry_run: bool
) -> None:
    """Enqueue every line of `source`. Raises `CliError` for what went wrong, with the lines."""
    if dry_run:
        _dry_run(session, queue, source)
        return
    with session.broker(patient=True) as client:
        payload_bytes_max = _payload_bytes_max(client)
        if source.path != "-" and not keep_going:
            _check(session, source, payload_bytes_max)
        started = time.monotonic()
        tally = _send(session, client, queue, source, payload_bytes_max, keep_going=keep_going)
    _tell(session, queue, tally, time.monotonic() - started)


def _payload_bytes_max(client: Client) -> int:
    client.ping()
    return PAYLOAD_BYTES_MAX if client.server is None else client.server.payload_bytes_max


@contextlib.contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = open(path, "rb")  # noqa: SIM115  (closed below)
    except OSError as error:
        code = Exit.PERMISSION if isinstance(error, PermissionError) else Exit.NOT_FOUND
        raise CliError(f"{path} cannot be read: {error.strerror or error}", code) from None
    with stream:
        if not stream.seekable():
            raise CliError(f"{path} can be read only once: give it as --file - <{path}", Exit.USAGE)
        yield stream


def _lines(
    session: Session, source: Source, label: str, payload_bytes_max: int
) -> Generator[tuple[Line, Progress]]:
    """The lines that count, with the bar to tell of them."""
    with _opened(source.path) as stream:
        size = os.fstat(stream.fileno()).st_size if source.path != "-" else None
        with progress(session, label, size) as bar:
            for line in read_jobs(
                stream,
                task=source.task,
                defaults=source.defaults,
                payload_bytes_max=payload_bytes_max,
            ):
                if line.number % _LINES_PER_UPDATE == 0:
                    bar.advance(line.end_bytes, many(line.number, "line"))
                if line.number >= source.from_line:
                    yield line, bar


def _told(source: Source, line: Line) -> str:
    return f"{source.name}:{line.number}: {line.error}"


def _check(session: Session, source: Source, payload_bytes_max: int) -> Tally:
    tally = Tally()
    with contextlib.closing(_lines(session, source, "checking", payload_bytes_max)) as lines:
        for line, bar in lines:
            if line.error is not None:
                tally.bad += 1
                bar.say(f"error: {_told(source, line)}")
            elif line.job is None:
                tally.blank += 1
            else:
                tally.jobs += 1
    if tally.bad:
        raise CliError(
            f"{many(tally.bad, 'bad line')} in {source.name}; nothing was sent"
            " (--keep-going sends the good ones)",
            Exit.FAILED,
        )
    return tally


def _dry_run(session: Session, queue: str, source: Source) -> None:
    tally = _check(session, source, PAYLOAD_BYTES_MAX)
    sentence = f'would enqueue {many(tally.jobs, "job")} in "{queue}"'
    record = {"queue": queue, "jobs": tally.jobs, "blank_lines": tally.blank, "dry_run": True}
    show_text(session, record, [sentence])


def _send(
    session: Session,
    client: Client,
    queue: str,
    source: Source,
    payload_bytes_max: int,
    *,
    keep_going: bool,
) -> Tally:
    tally = Tally()
    chunk: list[Line] = []
    with contextlib.closing(_lines(session, source, "enqueueing", payload_bytes_max)) as lines:
        for line, bar in lines:
            if line.error is not None:
                if not keep_going:
                    _send_chunk(session, client, queue, source, chunk, tally)
                    raise _stopped(tally, _told(source, line), Exit.FAILED)
                tally.bad += 1
                bar.say(f"error: {_told(source, line)}")
            elif line.job is None:
                tally.blank += 1
            else:
                chunk.append(line)
            if len(chunk) >= CHUNK_JOBS:
                _send_chunk(session, client, queue, source, chunk, tally)
                chunk = []
        _send_chunk(session, client, queue, source, chunk, tally)
    return tally


def _send_chunk(
    session: Session,
    client: Client,
    queue: str,
    source: Source,
    chunk: Sequence[Line],
    tally: Tally,
) -> None:
    """Send; raises `CliError` that says which lines are stored when not all of them are."""
    if not chunk:
        return
    stored: Sequence[str | None] = []
    failure: BaseException | None = None
    try:
        stored = client.enqueue_many(queue, [line.job for line in chunk if line.job is not None])
    except PartlyEnqueued as error:
        stored, failure = error.ids, error.__cause__ or error
    except TenureError as error:
        failure = error
    for place, line in enumerate(chunk):
        job_id = stored[place] if place < len(stored) else None
        if job_id is None:
            tally.unstored.append(line.number)
            continue
        existing = bool(getattr(job_id, "existing", False))
        tally.jobs += 1
        tally.existing += existing
        tally.last_stored = line.number
        if session.format == "ndjson":
            click.echo(to_json({"line": line.number, "id": str(job_id), "existing": existing}))
    tally.next_line = chunk[-1].number + 1
    if failure is not None:
        raise _stopped(tally, _reason(source, chunk, failure), exit_code_of(failure) or Exit.FAILED)


def _reason(source: Source, chunk: Sequence[Line], failure: BaseException) -> str:
    """The failure, with the line that the broker refused if it named one."""
    index = failure.details.get("index") if isinstance(failure, BrokerError) else None
    if isinstance(index, int) and 0 <= index < len(chunk):
        return f"{source.name}:{chunk[index].number}: {failure}"
    return str(failure)


def _stopped(tally: Tally, reason: str, code: Exit) -> CliError:
    """What is known to be stored, and where to go on."""
    if not tally.jobs:
        return CliError(f"{reason}; no job was confirmed", code)
    text = f"{reason}; {many(tally.jobs, 'job')} stored"
    if tally.unstored:
        text += f", not confirmed: lines {_ranges(tally.unstored)}"
    again = tally.unstored[0] if tally.unstored else tally.next_line
    if again > tally.last_stored:
        text += f" (go on with --from-line {again})"
    return CliError(text, Exit.PARTIAL)


def _ranges(numbers: Sequence[int]) -> str:
    """Line numbers as "3-7, 9"."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    texts = [f"{low}-{high}" if low < high else str(low) for low, high in ranges]
    more = [f"and {len(texts) - _RANGES_TOLD_MAX} more"] if len(texts) > _RANGES_TOLD_MAX else []
    return ", ".join(texts[:_RANGES_TOLD_MAX] + more)


def _tell(session: Session, queue: str, tally: Tally, seconds: float) -> None:
    pace = rate(tally.jobs / max(seconds, 0.001))
    sentence = f'enqueued {many(tally.jobs, "job")} in "{queue}" in {seconds:.1f}s ({pace}/s)'
    if tally.existing:
        sentence += f"; {count(tally.existing)} were there already"
    record = {
        "queue": queue,
        "jobs": tally.jobs,
        "existing": tally.existing,
        "blank_lines": tally.blank,
        "bad_lines": tally.bad,
        "seconds": round(seconds, 3),
    }
    if session.format == "ndjson":
        note(session, sentence)
    else:
        done(session, sentence, record)
    if tally.bad:
        code = Exit.PARTIAL if tally.jobs else Exit.FAILED
        raise CliError(f"{many(tally.bad, 'bad line')} left out", code)
