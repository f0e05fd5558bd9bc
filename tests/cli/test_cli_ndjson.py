"""Lines of NDJSON: each becomes a job or a reason, none is passed over."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest

from tenure import Retry
from tenure.cli import ndjson
from tenure.cli.ndjson import Line, read_jobs


def read(
    text: str | bytes,
    *,
    task: str | None = None,
    defaults: dict[str, Any] | None = None,
    payload_bytes_max: int = 1_000,
) -> list[Line]:
    stream = io.BytesIO(text.encode() if isinstance(text, str) else text)
    return list(
        read_jobs(stream, task=task, defaults=defaults or {}, payload_bytes_max=payload_bytes_max)
    )


def only_error(text: str | bytes) -> str:
    (line,) = read(text)
    assert line.job is None
    assert line.error is not None
    return line.error


def test_a_line_becomes_a_job_with_its_options() -> None:
    fields = {
        "task": "send_email",
        "payload": {"to": "ada@example.org"},
        "headers": {"trace": "1"},
        "priority": "high",
        "delay": "5m",
        "max_attempts": 3,
        "retry": "fixed:5s",
        "lease": 60,
        "expires": "1d",
        "unique": "mail-1",
        "retention": "1h",
    }

    (line,) = read(json.dumps(fields))

    assert line.error is None
    assert line.job is not None
    assert (line.job.task, line.job.payload) == ("send_email", {"to": "ada@example.org"})
    assert line.job.headers == {"trace": "1"}
    assert line.job.options == {
        "priority": 64,
        "delay": timedelta(minutes=5),
        "max_attempts": 3,
        "retry": Retry.fixed("5s"),
        "lease": timedelta(minutes=1),
        "expires": timedelta(days=1),
        "unique": "mail-1",
        "retention": timedelta(hours=1),
    }


def test_run_at_may_be_a_date_or_seconds_since_1970() -> None:
    text = '{"task": "a", "run_at": "2026-11-22T03:00:00Z"}\n{"task": "a", "run_at": 1795316400}'

    jobs = [line.job for line in read(text)]

    assert [job and job.options for job in jobs] == [{"run_at": 1_795_316_400.0}] * 2


def test_lines_are_numbered_and_blank_ones_told_apart() -> None:
    lines = read('{"task":"a"}\n\n  \n{"task":"b"}')

    assert [(line.number, line.job is None, line.error) for line in lines] == [
        (1, False, None),
        (2, True, None),
        (3, True, None),
        (4, False, None),
    ]
    assert lines[-1].end_bytes == len('{"task":"a"}\n\n  \n{"task":"b"}')


def test_the_command_line_fills_in_what_a_line_does_not_say() -> None:
    text = '{"payload": 1}\n{"task": "other", "priority": 5, "run_at": 1795316400}'

    first, second = read(text, task="default", defaults={"priority": "low", "delay": "5m"})

    assert first.job is not None
    assert first.job.task == "default"
    assert first.job.options == {"priority": 192, "delay": timedelta(minutes=5)}
    assert second.job is not None
    assert second.job.task == "other"
    assert second.job.options == {"priority": 5, "run_at": 1_795_316_400.0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not json", "not JSON"),
        ('{"task": "a"', "not JSON"),
        ("[1]", "must be a JSON object"),
        ("{}", "task is missing"),
        ('{"task": ""}', "not empty"),
        ('{"task": 5}', "must be a text"),
        ('{"task": "a", "prio": 3}', 'no field "prio"; did you mean "priority"?'),
        ('{"task": "a", "colour": 3}', "there are: task, payload, headers"),
        ('{"task": "a", "task": "b"}', '"task" stands twice'),
        ('{"task": "a", "payload": {"x": 1, "x": 2}}', '"x" stands twice'),
        ('{"task": "a", "payload": NaN}', "NaN is not JSON"),
        ('{"task": "a", "payload": 1%s}' % ("0" * 30), "payload"),
        ('{"task": "a", "payload": "\\ud800"}', "payload"),
        ('{"task": "a", "headers": [1]}', "headers must be an object"),
        ('{"task": "a", "headers": {"x": [1]}}', "header 'x'"),
        ('{"task": "a", "priority": 256}', "priority"),
        ('{"task": "a", "priority": true}', "priority"),
        ('{"task": "a", "priority": "highest"}', "highest"),
        ('{"task": "a", "delay": -1}', "delay"),
        ('{"task": "a", "delay": true}', "delay"),
        ('{"task": "a", "delay": 1, "run_at": 2}', "exclude each other"),
        ('{"task": "a", "run_at": "soon"}', "not a time"),
        ('{"task": "a", "max_attempts": 0}', "max_attempts"),
        ('{"task": "a", "max_attempts": 1.5}', "max_attempts"),
        ('{"task": "a", "lease": "13h"}', "lease must be"),
        ('{"task": "a", "expires": 0}', "expires"),
        ('{"task": "a", "retry": 3}', "retry"),
        ('{"task": "a", "unique": ""}', "unique"),
        ('{"task": "%s"}' % ("x" * 256), "task name is longer"),
        ('{"task": "a", "payload": "%s"}' % ("x" * 2_000), "the limit is 1000"),
    ],
)
def test_a_bad_line_says_what_is_wrong(text: str, said: str) -> None:
    assert said in only_error(text)


def test_a_line_nested_too_deep_for_json_or_msgpack_is_told() -> None:
    error = only_error('{"task": "a", "payload": ' + "[" * 50_000 + "]" * 50_000 + "}")

    assert "nested too deep" in error or "recursion limit" in error


def test_a_line_that_is_not_utf_8_is_told() -> None:
    assert only_error(b'{"task": "\xff"}') == "not UTF-8: byte 11"


def test_a_byte_order_mark_is_allowed_at_the_beginning_only() -> None:
    mark = "\ufeff".encode()

    first, second = read(mark + b'{"task": "a"}\n' + mark + b'{"task": "a"}')

    assert first.error is None
    assert second.error is not None


def test_an_endless_line_is_refused_and_the_next_one_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndjson, "LINE_BYTES_MAX", 40)

    long, after = read('{"task": "a", "payload": "%s"}\n{"task": "b"}' % ("x" * 500))

    assert long.error == "the line is longer than 40 bytes"
    assert (after.number, after.error) == (2, None)


def test_a_line_at_the_limit_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '{"task": "a"}\n'
    monkeypatch.setattr(ndjson, "LINE_BYTES_MAX", len(text))

    (line,) = read(text)

    assert line.error is None
