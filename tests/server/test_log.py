"""The log: one line per event, which nothing from outside can forge, break or flood."""

from __future__ import annotations

import io
import json

import pytest

from tenure_server import log
from tests.server.support import Wire, body, running


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError

    def isatty(self) -> bool:
        return False


NASTY = 'a\nb\rc\x1b[31md\x00e\x7ff\x9bg\u2028h\u202ei"j%s{x}${jndi:ldap}'


def test_json_is_one_object_per_line_with_the_event_first() -> None:
    out = io.StringIO()
    log.configure(level="info", style="json", stream=out)

    log.get_log().info("something", queue="q", count=3, data=b"\x00\xff")

    [line] = out.getvalue().splitlines()
    read = json.loads(line)
    assert list(read) == ["timestamp", "level", "event", "queue", "count", "data"]
    assert (read["event"], read["level"], read["count"], read["data"]) == (
        "something",
        "info",
        3,
        "00ff",
    )


@pytest.mark.parametrize("style", ["json", "console"])
def test_control_characters_are_escaped(style: str) -> None:
    out = io.StringIO()
    log.configure(level="info", style=style, stream=out)

    log.get_log().warning("x", value=NASTY, other=[NASTY])

    text = out.getvalue()
    assert text.count("\n") == 1
    assert not any(ord(each) < 32 or 127 <= ord(each) < 160 for each in text[:-1])
    assert "\u2028" not in text
    assert "\u202e" not in text
    assert "%s{x}${jndi:ldap}" in text


def test_long_values_are_cut() -> None:
    out = io.StringIO()
    log.configure(level="info", style="json", stream=out)

    log.get_log().info("x", value="v" * 10_000)

    assert len(out.getvalue()) < 1_000


@pytest.mark.parametrize(
    ("stream", "is_json"), [(io.StringIO(), True), (Terminal(), False)], ids=["pipe", "terminal"]
)
def test_auto_is_console_on_a_terminal_and_json_elsewhere(
    stream: io.StringIO, is_json: bool
) -> None:
    log.configure(level="info", style="auto", stream=stream)

    log.get_log().info("x")

    assert stream.getvalue().startswith("{") is is_json


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    log.configure(level="info", style="auto", stream=stream)

    log.get_log().info("x", key="value")

    assert "\x1b" not in stream.getvalue()


def test_lines_below_the_level_are_not_written() -> None:
    out = io.StringIO()
    log.configure(level="warning", style="json", stream=out)

    log.get_log().info("x")
    log.get_log().warning("y")

    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["y"]


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    log.configure(level="info", style="json", stream=Broken())

    log.get_log().error("x")


def test_a_fault_is_logged_with_its_traceback_in_one_json_line() -> None:
    out = io.StringIO()
    log.configure(level="info", style="json", stream=out)
    try:
        raise ValueError("broken\nhere")
    except ValueError as error:
        log.get_log().error("internal_fault", exc_info=error)

    [line] = out.getvalue().splitlines()
    assert "Traceback" in json.loads(line)["exception"]


def test_a_flood_of_one_event_is_cut_and_counted_and_others_pass() -> None:
    out = io.StringIO()
    log.configure(level="info", style="json", stream=out)
    gate = log.FloodGate()

    admitted = [gate.admits("flood", 1_000) for _ in range(100)]
    assert admitted == [True] * log.FLOOD_LINES + [False] * (100 - log.FLOOD_LINES)
    assert gate.admits("other", 1_000)

    assert gate.admits("flood", 1_000 + log.FLOOD_WINDOW_MS)
    line = json.loads(out.getvalue())
    assert (line["event"], line["of"], line["count"]) == ("lines_suppressed", "flood", 90)


def test_a_field_called_event_does_not_hide_the_event() -> None:
    out = io.StringIO()
    log.configure(level="info", style="json", stream=out)

    log.write("warning", "real", {"event": "fake", "level": "fake"})

    line = json.loads(out.getvalue())
    assert (line["event"], line["level"], line["field_event"]) == ("real", "warning", "fake")


async def test_a_client_cannot_write_into_the_log_and_payloads_never_get_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with running() as broker:
        wire = await Wire.hello(broker.port, client=NASTY[:100])
        await wire.do("enqueue", ["q", [body(b"SECRET", task="SECRET")]])
        [[job_id, attempt, *_]] = await wire.do("reserve", [["q"], 1, 0])
        assert (await wire.do("fail", [[[job_id, attempt, {"message": "SECRET"}]]]))[0][0] == 0
        wire.writer.write(b"\0\0\0\1\xc1")
        await wire.fatal()

    text = capsys.readouterr().err
    assert "SECRET" not in text
    for line in text.splitlines():
        json.loads(line)
    assert '"event": "connection_closed"' in text


async def test_jobs_are_not_logged_at_info(capsys: pytest.CaptureFixture[str]) -> None:
    async with running() as broker:
        wire = await broker.hello()
        for _ in range(5):
            await wire.do("enqueue", ["q", [body()]])
            [[job_id, attempt, *_]] = await wire.do("reserve", [["q"], 1, 0])
            await wire.do("ack", [[[job_id, attempt]]])
        wire.close()
        await broker.until(lambda: not broker.hub.connections)

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    events = [line["event"] for line in lines if line["level"] != "debug"]
    assert events == ["ready", "queue_created", "stopped"]
    assert {"client_connected", "client_gone"} <= {line["event"] for line in lines}
