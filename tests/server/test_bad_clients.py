"""Clients that break the protocol, are slow, or ask too much: told once, cut off, nobody else harmed."""

from __future__ import annotations

import pytest

from tenure_protocol.frames import encode_frame
from tenure_server.hub import LINGERING_SPARE
from tests.server.support import HELLO, Wire, body, running


@pytest.mark.parametrize(
    ("garbage", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "FRAME_TOO_LARGE"),
        (b"\0\0\0\0", "MALFORMED_FRAME"),
        (b"\xff\xff\xff\xff", "FRAME_TOO_LARGE"),
        (encode_frame(b"x" * 4096), "FRAME_TOO_LARGE"),
        (b"\0\0\0\1\xc1", "MALFORMED_FRAME"),
        (b"\0\0\0\2\x01\x01", "MALFORMED_FRAME"),
        (encode_frame({}), "MALFORMED_FRAME"),
        (encode_frame([]), "MALFORMED_FRAME"),
        (encode_frame([1]), "MALFORMED_FRAME"),
        (encode_frame([0, "hello", HELLO]), "MALFORMED_FRAME"),
        (encode_frame([1 << 32, "hello", HELLO]), "MALFORMED_FRAME"),
        (encode_frame([-1, "hello", HELLO]), "MALFORMED_FRAME"),
        (encode_frame([True, "hello", HELLO]), "MALFORMED_FRAME"),
        (encode_frame([1.0, "hello", HELLO]), "MALFORMED_FRAME"),
        (encode_frame(["1", "hello", HELLO]), "MALFORMED_FRAME"),
        (encode_frame([1, 5, HELLO]), "MALFORMED_FRAME"),
        (encode_frame([1, b"hello", HELLO]), "MALFORMED_FRAME"),
        (b"\0\0\4\1" + b"\x91" * 1025, "MALFORMED_FRAME"),
        (b"\0\0\0\3\xd4\x05\x00", "MALFORMED_FRAME"),
    ],
)
async def test_garbage_gets_one_error_frame_and_a_close(garbage: bytes, code: str) -> None:
    async with running() as broker:
        other = await broker.hello()
        wire = await Wire.connect(broker.port)

        wire.writer.write(garbage)

        assert (await wire.fatal())[0] == code
        assert "now_ms" in await other.do("ping", [])
        assert broker.hub.counters.refusals[code] == 1


async def test_garbage_after_hello_ends_only_its_own_connection() -> None:
    async with running() as broker:
        bad, good = await broker.hello(), await broker.hello()

        bad.writer.write(b"\0\0\0\1\xc1")

        assert (await bad.fatal())[0] == "MALFORMED_FRAME"
        assert "now_ms" in await good.do("ping", [])


async def test_the_last_words_arrive_though_the_client_is_still_sending() -> None:
    async with running() as broker:
        wire = await Wire.connect(broker.port)

        wire.writer.write(b"\xff\xff\xff\xff" + bytes(1 << 20))

        assert (await wire.fatal())[0] == "FRAME_TOO_LARGE"
        assert not wire.was_reset


async def test_a_frame_may_be_long_only_after_hello() -> None:
    async with running() as broker:
        wire = await broker.hello()

        assert len((await wire.do("enqueue", ["q", [body(bytes(100_000))]]))[0]) == 1


async def test_a_frame_over_the_limit_is_refused_when_its_length_is_announced() -> None:
    async with running({"limits.frame_bytes_max": "128KiB", "limits.payload_bytes_max": "1KiB",
                        "limits.result_bytes_max": "1KiB"}) as broker:  # fmt: skip
        wire = await broker.hello()

        wire.writer.write((128 * 1024 + 1).to_bytes(4, "big"))

        code, message, _, _ = await wire.fatal()
        assert code == "FRAME_TOO_LARGE"
        assert "131073" in message
        assert "131072" in message


async def test_half_a_frame_and_a_close_harm_nobody() -> None:
    async with running() as broker:
        wire = await broker.hello()
        wire.writer.write(b"\0\0\1\0half")
        await broker.until(lambda: broker.hub.partial_bytes > 0)

        wire.close()

        await broker.until(lambda: not broker.hub.connections)
        assert broker.hub.partial_bytes == 0
        other = await broker.hello()
        assert "now_ms" in await other.do("ping", [])


async def test_an_unknown_operation_is_refused_by_name_and_the_connection_goes_on() -> None:
    async with running() as broker:
        wire = await broker.hello()

        status, error = await wire.ask("levitate", [])

        assert (status, error[0]) == (1, "UNKNOWN_OPERATION")
        assert "levitate" in error[1]
        assert "now_ms" in await wire.do("ping", [])
        assert broker.hub.counters.requests["unknown"] == 1


async def test_missing_arguments_mean_none_and_more_are_ignored() -> None:
    async with running() as broker:
        wire = await broker.hello()

        wire.send([7, "ping"])
        assert (await wire.reply(7))[0] == 0
        wire.send([8, "ping", [], "what is this"])
        assert (await wire.reply(8))[0] == 0


async def test_an_id_that_is_still_unanswered_cannot_be_used_again() -> None:
    async with running() as broker:
        wire = await broker.hello()

        wire.send([5, "reserve", [["q"], 1, 60_000]])
        wire.send([5, "ping", []])

        assert (await wire.fatal())[0] == "MALFORMED_FRAME"


async def test_an_id_can_be_used_again_after_its_reply() -> None:
    async with running() as broker:
        wire = await broker.hello()

        for _ in range(3):
            wire.send([5, "ping", []])
            assert (await wire.reply(5))[0] == 0


async def test_who_does_not_say_hello_in_time_is_told() -> None:
    async with running({"timeouts.handshake": "60ms"}) as broker:
        wire = await Wire.connect(broker.port)

        code, message, _, _ = await wire.fatal()

        assert code == "HELLO_REQUIRED"
        assert "60 ms" in message


async def test_a_started_frame_must_be_finished_however_steadily_it_drips() -> None:
    async with running() as broker:
        good, wire = await broker.hello(), await broker.hello()
        wire.writer.write(b"\0\0\x0f\xff")

        for dripped in range(29):
            wire.writer.write(b"\xc0")
            await broker.until(lambda: broker.hub.partial_bytes == 5 + dripped)  # noqa: B023
            broker.advance(1_000)
        assert len(broker.hub.connections) == 2
        broker.advance(1_000)

        code, message, _, _ = await wire.fatal()
        assert code == "MALFORMED_FRAME"
        assert "30000 ms" in message
        assert "now_ms" in await good.do("ping", [])
        assert broker.hub.partial_bytes == 0


async def test_each_frame_has_its_own_time_to_finish() -> None:
    async with running() as broker:
        wire = await broker.hello()
        request = encode_frame([1, "ping", []])

        for _ in range(3):
            wire.writer.write(request[:5])
            await broker.until(lambda: broker.hub.partial_bytes == 5)
            broker.advance(20_000)
            wire.writer.write(request[5:])
            assert (await wire.reply(1))[0] == 0


async def test_a_silent_client_is_disconnected_and_one_that_pings_is_not() -> None:
    async with running() as broker:
        silent, lively = await broker.hello(), await broker.hello()

        for _ in range(3):
            broker.advance(30_000)
            await lively.do("ping", [])

        await silent.closed()
        assert "now_ms" in await lively.do("ping", [])
        assert broker.hub.counters.closed == {"idle_timeout": 1}


async def test_a_client_with_a_waiting_reserve_must_ping_too() -> None:
    async with running() as broker:
        wire = await broker.hello()
        wire.post("reserve", [["q"], 1, 3_600_000])
        await broker.until(lambda: broker.hub.engine.waiting_count == 1)

        broker.advance(90_000)

        await wire.closed()
        assert broker.hub.engine.waiting_count == 0


async def test_the_connection_limit_refuses_the_next_one_at_once_and_keeps_the_rest() -> None:
    async with running({"limits.connections": 220}) as broker:
        wires = [await broker.hello() for _ in range(220)]

        refused = [await Wire.connect(broker.port) for _ in range(30)]

        for wire in refused:
            code, message, retryable, _ = await wire.fatal()
            assert (code, retryable) == ("TOO_MANY_CONNECTIONS", True)
            assert "220" in message
        for wire in wires:
            assert "now_ms" in await wire.do("ping", [])
        wires[0].close()
        await broker.until(lambda: len(broker.hub.connections) == 219)
        assert "now_ms" in await (await broker.hello()).do("ping", [])


async def test_closing_connections_leave_the_descriptors_to_those_that_stay() -> None:
    async with running({"limits.connections": 20}) as broker:
        wires = [await broker.hello() for _ in range(18)]

        wire = wires[0]
        for number in range(3 * LINGERING_SPARE):
            wire = await Wire.connect(broker.port)
            wire.writer.write(b"\xff\xff\xff\xff")
            refused = broker.hub.counters.refusals
            await broker.until(lambda: refused["FRAME_TOO_LARGE"] > number)  # noqa: B023
            assert len(broker.hub.connections) + len(broker.hub.lingering) <= 20 + LINGERING_SPARE

        assert len(broker.hub.lingering) == 2 + LINGERING_SPARE
        assert "now_ms" in await wires[0].do("ping", [])
        assert (await wire.fatal())[0] == "FRAME_TOO_LARGE", "the last words of the youngest arrive"


async def test_waiting_requests_are_limited_per_connection() -> None:
    async with running({"limits.waiting_per_connection": 3}) as broker:
        wire, other = await broker.hello(), await broker.hello()
        for _ in range(3):
            wire.post("reserve", [["q"], 1, 60_000])

        status, error = await wire.ask("reserve", [["q"], 1, 60_000])

        assert (status, error[0], error[2]) == (1, "TOO_MANY_WAITING", True)
        assert error[3] == {"limit": 3}
        assert "now_ms" in await wire.do("ping", [])
        other.post("reserve", [["q"], 1, 60_000])
        await broker.until(lambda: broker.hub.engine.waiting_count == 4)
