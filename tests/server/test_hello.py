"""The first request of a connection, and what it opens."""

from __future__ import annotations

import asyncio

import pytest

from tests.server.support import HELLO, Wire, body, running


async def test_hello_tells_limits_session_and_the_time() -> None:
    async with running({"limits.payload_bytes_max": "64KiB", "timeouts.idle": "45s"}) as broker:
        wire = await Wire.connect(broker.port)

        result = await wire.do("hello", HELLO)

        assert result["protocol"] == 1
        assert result["server"].startswith("tenure ")
        assert len(result["session"]) == 8
        assert result["resumed"] is False
        assert abs(result["now_ms"] - broker.hub.clock().wall_ms) < 60_000
        assert result["idle_timeout_ms"] == 45_000
        assert result["limits"] == {
            "frame_bytes_max": 16 << 20,
            "payload_bytes_max": 64 << 10,
            "jobs_per_request_max": 10_000,
            "result_bytes_max": 1 << 20,
            "wait_ms_max": 3_600_000,
        }
        assert "results" in result["features"]


async def test_a_newer_client_is_answered_in_the_newest_common_protocol() -> None:
    async with running() as broker:
        wire = await Wire.connect(broker.port)

        result = await wire.do("hello", {**HELLO, "protocol": [1, 9], "from_the_future": True})

        assert result["protocol"] == 1


async def test_a_client_without_a_common_protocol_is_told_what_the_broker_speaks() -> None:
    async with running() as broker:
        wire = await Wire.connect(broker.port)

        wire.post("hello", {**HELLO, "protocol": [2, 3]})

        code, message, retryable, details = await wire.fatal()
        assert code == "UNSUPPORTED_PROTOCOL"
        assert "2 to 3" in message
        assert retryable is False
        assert details == {"min": 1, "max": 1}


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (None, "map"),
        ([], "map"),
        ({"client": "x"}, "protocol"),
        ({"protocol": [2, 1], "client": "x"}, "protocol"),
        ({"protocol": ["1", "1"], "client": "x"}, "protocol"),
        ({"protocol": [1, 1]}, "client"),
        ({"protocol": [1, 1], "client": ""}, "client"),
        ({"protocol": [1, 1], "client": "x" * 129}, "client"),
        ({"protocol": [1, 1], "client": 5}, "client"),
        ({"protocol": [1, 1], "client": "x", "session": b"short"}, "session"),
        ({"protocol": [1, 1], "client": "x", "session": "8 chars."}, "session"),
        ({"protocol": [1, 1], "client": "x", "library": 5}, "library"),
    ],
)
async def test_a_hello_with_a_bad_field_names_it_and_ends_the_connection(
    args: object, complaint: str
) -> None:
    async with running() as broker:
        wire = await Wire.connect(broker.port)

        wire.post("hello", args)

        code, message, _, _ = await wire.fatal()
        assert code == "BAD_REQUEST"
        assert complaint in message


async def test_anything_before_hello_is_refused_and_ends_the_connection() -> None:
    async with running() as broker:
        wire = await Wire.connect(broker.port)

        wire.post("ping", [])

        assert (await wire.fatal())[0] == "HELLO_REQUIRED"


async def test_a_second_hello_is_refused_and_the_connection_goes_on() -> None:
    async with running() as broker:
        wire = await broker.hello()

        status, error = await wire.ask("hello", HELLO)

        assert (status, error[0]) == (1, "BAD_REQUEST")
        assert "now_ms" in await wire.do("ping", [])


async def test_a_session_with_leases_can_be_resumed_on_another_connection() -> None:
    async with running() as broker:
        first = await Wire.connect(broker.port)
        session = (await first.do("hello", HELLO))["session"]
        await first.do("enqueue", ["q", [body()]])
        [[job_id, attempt, *_]] = await first.do("reserve", [["q"], 1, 0])

        second = await Wire.connect(broker.port)
        result = await second.do("hello", {**HELLO, "session": session})

        assert (result["session"], result["resumed"]) == (session, True)
        assert await second.do("ack", [[[job_id, attempt]]]) == [0]
        await first.closed()


async def test_a_session_without_leases_is_not_resumed_but_keeps_its_id() -> None:
    async with running() as broker:
        wire = await Wire.connect(broker.port)

        result = await wire.do("hello", {**HELLO, "session": b"8 bytes."})

        assert (result["session"], result["resumed"]) == (b"8 bytes.", False)


async def test_goodbye_is_answered_and_then_the_broker_closes() -> None:
    async with running() as broker:
        wire = await broker.hello()
        await wire.do("enqueue", ["q", [body(), body()]])
        await wire.do("reserve", [["q"], 2, 0])

        assert await wire.do("goodbye", []) == {"released": 2}
        assert await wire.frame() is None
        other = await broker.hello()
        assert len(await other.do("reserve", [["q"], 2, 0])) == 2


async def test_a_client_that_just_leaves_keeps_its_leases() -> None:
    async with running() as broker:
        wire = await broker.hello()
        await wire.do("enqueue", ["q", [body()]])
        await wire.do("reserve", [["q"], 1, 0])

        wire.close()
        await broker.until(lambda: not broker.hub.connections)

        assert broker.hub.engine.lease_count == 1


async def test_a_waiting_reserve_is_dropped_with_its_connection() -> None:
    async with running() as broker:
        wire = await broker.hello()
        wire.post("reserve", [["q"], 1, 60_000])
        await broker.until(lambda: broker.hub.engine.waiting_count == 1)

        wire.close()

        await broker.until(lambda: broker.hub.engine.waiting_count == 0)
        other = await broker.hello()
        await other.do("enqueue", ["q", [body()]])
        assert len(await other.do("reserve", [["q"], 1, 0])) == 1


async def test_a_waiting_reserve_is_answered_by_the_enqueue_of_another_client() -> None:
    async with running() as broker:
        worker, producer = await broker.hello(), await broker.hello()
        request = worker.post("reserve", [["q"], 5, 60_000])
        await broker.until(lambda: broker.hub.engine.waiting_count == 1)

        await producer.do("enqueue", ["q", [body(b"hi")]])

        status, [job] = await worker.reply(request)
        assert (status, job[5]) == (0, body(b"hi"))


async def test_a_reserve_that_waits_in_vain_is_answered_when_its_time_is_over() -> None:
    async with running() as broker:
        wire = await broker.hello()

        async with asyncio.timeout(10):
            assert await wire.do("reserve", [["q"], 1, 30]) == []
