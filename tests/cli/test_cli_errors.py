"""How a run ends: the exit code, one line on stderr, never a traceback."""

from __future__ import annotations

import pytest

from tenure.cli.errors import Exit, exit_code_of
from tenure.errors import (
    CODES,
    BrokerError,
    CannotConnect,
    ConnectionLost,
    JobNotFound,
    OutcomeUnknown,
    ProtocolViolation,
    QueueExists,
    QueueFull,
    QueueNotEmpty,
    QueueNotFound,
    RequestTimeout,
    TooManyConnections,
    UnsupportedProtocol,
)
from tests.cli.fakes import FakeClient, make_queue, run


def connect_error(cause: Exception) -> CannotConnect:
    error = CannotConnect("cannot connect")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (QueueNotFound("x"), 4),
        (JobNotFound("x"), 4),
        (QueueExists("x"), 5),
        (QueueNotEmpty("x"), 5),
        (QueueFull("x"), 75),
        (CODES["STORE_FULL"]("x"), 75),
        (CODES["DRAINING"]("x"), 75),
        (CODES["CHORE_NOT_FOUND"]("x"), 4),
        (CODES["INTERNAL"]("x"), 70),
        (CODES["BAD_REQUEST"]("x"), 2),
        (CODES["BACKUP_FAILED"]("x"), 1),
        (BrokerError("a code of a newer broker", retryable=True), 70),
        (CannotConnect("x"), 69),
        (connect_error(TooManyConnections("x")), 75),
        (connect_error(UnsupportedProtocol("x")), 69),
        (ConnectionLost("x"), 69),
        (OutcomeUnknown("x"), 69),
        (ProtocolViolation("x"), 69),
        (RequestTimeout("x"), 75),
        (PermissionError("x"), 77),
    ],
)
def test_each_error_has_its_exit_code(error: Exception, code: int) -> None:
    result = run("queue", "ls", client=FakeClient(error=error))
    assert result.exit_code == 0  # a listing asks nothing that fails here

    result = run("queue", "get", "mail", client=FakeClient(error=error))

    assert result.exit_code == code
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_every_code_of_the_protocol_has_an_exit_code() -> None:
    for error in CODES.values():
        assert exit_code_of(error("x")) in set(Exit)


def test_an_unknown_queue_is_told_with_the_name_it_may_be_meant_to_be() -> None:
    client = FakeClient(queue_infos=[make_queue("mail"), make_queue("bulk")])

    result = run("queue", "get", "mial", client=client)

    assert result.exit_code == 4
    expected = 'error: queue "mial" not found; did you mean "mail"? (QUEUE_NOT_FOUND)\n'
    assert result.stderr == expected


def test_an_unknown_queue_that_is_like_no_other_gets_no_suggestion() -> None:
    result = run("queue", "pause", "xyzzy", client=FakeClient(queue_infos=[make_queue("mail")]))

    assert result.stderr == 'error: queue "xyzzy" not found (QUEUE_NOT_FOUND)\n'


def test_an_unknown_command_gets_a_suggestion() -> None:
    result = run("quue", "ls")

    assert result.exit_code == 2
    assert 'no such command "quue"; did you mean "queue"?' in result.stderr

    result = run("queue", "lss")

    assert 'no such command "lss"; did you mean "ls"?' in result.stderr


def test_wrong_usage_says_where_the_help_is() -> None:
    result = run("queue", "get")

    assert result.exit_code == 2
    assert "error: missing argument 'QUEUE'" in result.stderr
    assert "see: tenure queue get --help" in result.stderr


def test_a_wrong_job_id_is_refused_before_the_broker_is_asked() -> None:
    client = FakeClient()

    result = run("job", "get", "nonsense", client=client)

    assert result.exit_code == 2
    assert "a job id has 26 characters" in result.stderr
    assert client.calls == []


def test_an_unexpected_error_is_one_line_and_says_how_to_see_more() -> None:
    client = FakeClient(error=ZeroDivisionError("oh"))

    result = run("ping", client=client)

    assert result.exit_code == 70
    assert result.stderr == (
        "error: unexpected ZeroDivisionError: oh"
        " (please report it; TENURE_DEBUG=1 shows the traceback)\n"
    )


def test_tenure_debug_shows_the_traceback() -> None:
    client = FakeClient(error=ZeroDivisionError("oh"))

    result = run("ping", client=client, env={"TENURE_DEBUG": "1"})

    assert result.exit_code == 70
    assert "Traceback (most recent call last)" in result.stderr


def test_error_messages_cannot_drive_the_terminal() -> None:
    result = run("ping", client=FakeClient(error=JobNotFound("no \x1b[2J job")))

    assert r"no \x1b[2J job (JOB_NOT_FOUND)" in result.stderr
    assert "\x1b" not in result.stderr


def test_ctrl_c_ends_quietly_with_130() -> None:
    client = FakeClient(error=KeyboardInterrupt())  # type: ignore[arg-type]

    result = run("ping", client=client)

    assert result.exit_code == 130
    assert result.output == ""


def test_the_client_is_closed_whatever_happens() -> None:
    for error in (None, QueueFull("x"), ZeroDivisionError("x")):
        client = FakeClient(error=error)

        run("ping", client=client)

        assert client.closed


@pytest.mark.parametrize("words", [["ping"], ["queue", "ls"], ["enqueue", "mail", "task"]])
def test_a_wrong_time_out_is_wrong_usage(words: list[str]) -> None:
    result = run("--timeout", "soon", *words)

    assert result.exit_code == 2
    assert "--timeout 'soon' is not a duration" in result.stderr


def test_a_wrong_output_format_in_the_environment_is_a_configuration_error() -> None:
    result = run("queue", "ls", env={"TENURE_OUTPUT": "yaml"})

    assert result.exit_code == 78
    assert 'TENURE_OUTPUT is "yaml"; use one of table, json, ndjson' in result.stderr
