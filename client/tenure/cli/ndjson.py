"""Jobs from NDJSON: one JSON object per line, each line checked, none passed over.

{"task": "send_email", "payload": {"to": "ada@example.org"}, "delay": "5m"}
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, NamedTuple

from tenure.cli.joboptions import draft_job
from tenure.jobs import NewJob

LINE_BYTES_MAX = 16 * 1024 * 1024
"""The longest line that is read: room for the largest payload with every character escaped."""


class Line(NamedTuple):
    """A line of the input and what came of it: a job, or the reason why not; a blank has neither."""

    number: int
    end_bytes: int
    job: NewJob | None
    error: str | None


class _Rules(NamedTuple):
    task: str | None
    defaults: dict[str, object]
    payload_bytes_max: int


def read_jobs(
    stream: IO[bytes], *, task: str | None, defaults: dict[str, object], payload_bytes_max: int
) -> Iterator[Line]:
    """Every line of `stream` in order, blank ones too.

    `task` and `defaults` fill in what a line does not say. `end_bytes` counts the bytes
    read so far, for a progress bar.
    """
    rules = _Rules(task, defaults, payload_bytes_max)
    read_bytes = 0
    number = 0
    while raw := stream.readline(LINE_BYTES_MAX + 1):
        number += 1
        read_bytes += len(raw)
        if len(raw) > LINE_BYTES_MAX:
            read_bytes += _skip_rest(stream, raw)
            yield Line(number, read_bytes, None, f"the line is longer than {LINE_BYTES_MAX} bytes")
        else:
            yield _line(number, read_bytes, raw, rules)


def _skip_rest(stream: IO[bytes], begun: bytes) -> int:
    skipped = 0
    while not begun.endswith(b"\n") and (begun := stream.readline(LINE_BYTES_MAX)):
        skipped += len(begun)
    return skipped


def _line(number: int, end_bytes: int, raw: bytes, rules: _Rules) -> Line:
    try:
        text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        if not text:
            return Line(number, end_bytes, None, None)
        fields = _DECODER.decode(text)
        if not isinstance(fields, dict):
            raise ValueError("the line must be a JSON object")
        given = {**rules.defaults, **fields}
        if rules.task is not None:
            given.setdefault("task", rules.task)
        if "delay" in fields or "run_at" in fields:
            # A line that says when takes the place of a default that says it another way.
            given = {k: v for k, v in given.items() if k in fields or k not in ("delay", "run_at")}
        return Line(
            number, end_bytes, draft_job(given, payload_bytes_max=rules.payload_bytes_max), None
        )
    except json.JSONDecodeError as error:
        return Line(number, end_bytes, None, f"not JSON: {error.msg} at character {error.colno}")
    except UnicodeDecodeError as error:
        return Line(number, end_bytes, None, f"not UTF-8: byte {error.start + 1}")
    except RecursionError:
        return Line(number, end_bytes, None, "nested too deep")
    except ValueError as error:
        return Line(number, end_bytes, None, str(error))


def _no_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'the name "{twin}" stands twice in one object')
    return made


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is not JSON")


# Made once: making a decoder takes longer than reading a line.
_DECODER = json.JSONDecoder(object_pairs_hook=_no_twins, parse_constant=_no_constant)
