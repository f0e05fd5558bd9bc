"""One blocking client, many threads; and a fork."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading

import pytest

from tenure import CannotConnect, Client, ClientClosed, NewJob, RequestTimeout
from tenure_protocol.ids import encode_id
from tests.client.both import InThread
from tests.client.fake_broker import (
    SECONDS_MAX,
    FakeBroker,
    Peer,
    Request,
    answering,
    enqueue_reply,
    job_row,
)

THREADS = 16
CALLS = 50


def echo(request: Request) -> object:
    """The id of an enqueued job is the number in its payload."""
    body = request.args[1][0]
    return [[bytes(11) + int(body[-3:-2].hex() or "0", 16).to_bytes(5, "big")], None]


def test_sixteen_threads_on_one_connection_each_get_their_own_replies() -> None:
    def work(client: Client, number: int) -> set[str]:
        return {client.enqueue("mail", "t", bytes([number]), codec="raw") for _ in range(CALLS)}

    with FakeBroker(answering({"enqueue": echo})) as broker, Client(broker.url) as client:
        threads = [InThread(work, client, number) for number in range(THREADS)]
        results = [thread.result() for thread in threads]

        assert broker.connections == 1
    assert results == [{encode_id(bytes(15) + bytes([number]))} for number in range(THREADS)]


def test_a_long_wait_of_one_thread_does_not_hold_up_another() -> None:
    arrived = threading.Event()

    def serves(peer: Peer) -> None:
        peer.hello()
        reserve = peer.expect("reserve")
        arrived.set()
        peer.reply(peer.expect("stats"), {"jobs": 1})
        peer.reply(reserve, [job_row()])
        peer.until_gone()

    with FakeBroker(serves) as broker, Client(broker.url) as client:
        reserving = InThread(client.reserve, "mail", wait="1m")
        assert arrived.wait(SECONDS_MAX)

        assert client.stats() == {"jobs": 1}
        assert len(reserving.result()) == 1


def test_a_short_deadline_is_kept_while_another_thread_waits_for_long() -> None:
    arrived = threading.Event()

    def silent(peer: Peer) -> None:
        peer.hello(idle_timeout_ms=3_600_000)
        peer.expect("reserve")
        arrived.set()
        peer.until_gone()

    with FakeBroker(silent) as broker, Client(broker.url, timeout="100ms") as client:
        reserving = InThread(client.reserve, "mail", wait="1h")
        assert arrived.wait(SECONDS_MAX)
        asking = InThread(client.stats)

        with pytest.raises(RequestTimeout):
            asking.result()
        client.close()
        with pytest.raises(ClientClosed):
            reserving.result()


def test_replies_in_reverse_order_wake_the_right_threads() -> None:
    def serves(peer: Peer) -> None:
        peer.hello()
        requests = [peer.expect("peek") for _ in range(8)]
        for request in reversed(requests):
            peer.reply(request, {"jobs": [], "cursor": request.args["queue"].encode()})
        peer.until_gone()

    with FakeBroker(serves) as broker, Client(broker.url) as client:
        asking = {f"q{number}": InThread(client.peek, f"q{number}") for number in range(8)}

        for name, thread in asking.items():
            assert thread.result().cursor == name.encode()


def test_two_large_requests_pass_a_broker_that_answers_before_it_reads_on() -> None:
    size = 4 * 1024 * 1024

    def serves(peer: Peer) -> None:
        peer.hello()
        for _ in range(2):
            request = peer.expect("enqueue")
            peer.reply(request, [[bytes(16)], None, b"x" * size])
        peer.until_gone()

    with FakeBroker(serves) as broker, Client(broker.url, codec="raw", compress_over=False) as c:
        threads = [InThread(c.enqueue, "mail", "t", b"y" * size) for _ in range(2)]

        assert [thread.result() for thread in threads] == ["0" * 26] * 2


def test_an_idle_client_keeps_its_connection_alive_by_itself() -> None:
    pinged = threading.Event()

    def serves(peer: Peer) -> None:
        peer.hello(idle_timeout_ms=150)
        peer.reply(peer.expect("stats"), {})
        for _ in range(3):
            request = peer.request()
            assert request.op == "ping"
            peer.reply(request, {"now_ms": 0})
        pinged.set()
        peer.until_gone()

    with FakeBroker(serves) as broker, Client(broker.url) as client:
        client.stats()

        assert pinged.wait(SECONDS_MAX)


def test_a_client_that_is_dropped_leaves_no_thread_behind() -> None:
    with FakeBroker(answering({})) as broker:
        client = Client(broker.url)
        client.ping()
        (keeper,) = [one for one in threading.enumerate() if one.name == "tenure-keep-alive"]
        client.close()
        keeper.join(SECONDS_MAX)

        assert not keeper.is_alive()


def test_the_jobs_of_enqueue_many_leave_in_several_chunks_at_once() -> None:
    def serves(peer: Peer) -> None:
        peer.hello()
        peer.reply(peer.expect("ping"), {"now_ms": 0})
        requests = [peer.request() for _ in range(8)]
        assert [request.args[3] for request in requests] == list(range(1, 9))
        for number, request in enumerate(requests):
            peer.reply(request, enqueue_reply(request, 10 * number))
        last = peer.request()
        peer.reply(last, enqueue_reply(last, 80))
        peer.until_gone()

    with FakeBroker(serves) as broker, Client(broker.url) as client:
        ids = client.enqueue_many("mail", (NewJob("t", n) for n in range(85)), chunk_jobs=10)

    assert ids == [encode_id(bytes(11) + number.to_bytes(5, "big")) for number in range(85)]


FORKING = """
import os, sys
from tenure import Client
client = Client(sys.argv[1])
client.enqueue("mail", "t")
child = os.fork()
if child == 0:
    client.enqueue("mail", "t")
    client.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
client.enqueue("mail", "t")
client.close()
"""

FORKING_ASYNC = """
import asyncio, os, sys
from tenure import AsyncClient
client = AsyncClient(sys.argv[1])
async def use(times):
    async with client:
        for _ in range(times):
            await client.enqueue("mail", "t")
child = os.fork()
if child == 0:
    asyncio.run(use(1))
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
asyncio.run(use(2))
"""


@pytest.mark.parametrize(
    ("program", "parents"), [(FORKING, [0, 2]), (FORKING_ASYNC, [1, 2])], ids=["sync", "async"]
)
def test_a_forked_child_is_a_producer_of_its_own(program: str, parents: list[int]) -> None:
    seen: list[tuple[bytes, int]] = []

    def note(request: Request) -> object:
        seen.append((request.args[2], request.args[3]))
        return enqueue_reply(request)

    with FakeBroker(answering({"enqueue": note})) as broker:
        subprocess.run([sys.executable, "-c", program, broker.url], check=True, timeout=60)

    ours = [seen[index] for index in parents]
    ((child, first),) = [pair for index, pair in enumerate(seen) if index not in parents]
    assert ours[0][0] == ours[1][0] != child
    assert ([sequence for _, sequence in ours], first) == ([1, 2], 1)
    assert broker.connections == 2


def test_a_call_that_found_no_broker_leaves_the_lead_to_the_next() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Client(f"tenure://127.0.0.1:{port}", timeout="10s", connect_timeout="1ms") as client:
        for _ in range(3):
            with pytest.raises(CannotConnect):
                client.ping()
