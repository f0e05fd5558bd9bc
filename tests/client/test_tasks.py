"""The asyncio client: cancelling, joining writes, async iterables, loops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
import uvloop

from tenure import (
    AsyncClient,
    BrokerError,
    InternalError,
    NewJob,
    PartlyEnqueued,
    PayloadTooLarge,
    QueueFull,
    SequenceTooOld,
    StoreFull,
)
from tenure.aio_link import AsyncLink
from tests.client.fake_broker import (
    SECONDS_MAX,
    FakeBroker,
    Peer,
    Request,
    answering,
    enqueue_reply,
    job_row,
)


async def happened(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, SECONDS_MAX)


async def test_a_cancelled_call_leaves_the_connection_usable_and_gives_its_jobs_back() -> None:
    arrived, released = threading.Event(), threading.Event()

    def serves(peer: Peer) -> None:
        peer.hello()
        reserve = peer.expect("reserve")
        arrived.set()
        stats = peer.expect("stats")
        peer.reply(reserve, [job_row(3)])
        peer.reply(stats, {"jobs": 1})
        release = peer.expect("release")
        assert release.args == [[[bytes(15) + b"\x03", 1]]]
        peer.reply(release, [0])
        released.set()
        peer.until_gone()

    with FakeBroker(serves) as broker:
        async with AsyncClient(broker.url) as client:
            reserving = asyncio.create_task(client.reserve("mail", wait="1m"))
            await happened(arrived)
            reserving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reserving

            assert await client.stats() == {"jobs": 1}
            await happened(released)
        assert broker.connections == 1


async def test_a_call_that_is_cancelled_before_there_is_a_connection_is_never_sent() -> None:
    seen: list[str] = []

    def note(request: Request) -> object:
        seen.append(request.args[1][0].decode("latin1"))
        return enqueue_reply(request)

    with FakeBroker(answering({"enqueue": note})) as broker:
        async with AsyncClient(broker.url) as client:
            first = asyncio.create_task(client.enqueue("mail", "unwanted"))
            await asyncio.sleep(0)
            first.cancel()
            await client.enqueue("mail", "wanted")

    assert len(seen) == 1
    assert "unwanted" not in seen[0]


async def test_requests_of_one_turn_leave_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeBroker(answering({"enqueue": enqueue_reply})) as broker:
        async with AsyncClient(broker.url) as client:
            await client.ping()
            link = client._link
            assert isinstance(link, AsyncLink)
            wire = link._wire
            assert wire is not None
            writes: list[bytes] = []
            write = wire.write

            def noted(data: bytes) -> None:
                writes.append(data)
                write(data)

            monkeypatch.setattr(wire, "write", noted)

            await asyncio.gather(*(client.enqueue("mail", "t") for _ in range(50)))

    assert len(writes) == 1


async def test_the_enqueues_of_one_turn_travel_as_one_request_per_queue() -> None:
    sizes: list[tuple[str, int]] = []

    def note(request: Request) -> object:
        first = sum(size for _, size in sizes)
        sizes.append((request.args[0], len(request.args[1])))
        return enqueue_reply(request, first)

    with FakeBroker(answering({"enqueue": note})) as broker:
        async with AsyncClient(broker.url) as client:
            mail = [client.enqueue("mail", "t", n) for n in range(150)]
            other = [client.enqueue("other", "t", n, priority=n) for n in range(50)]
            ids = await asyncio.gather(*mail, *other)

    assert len(set(ids)) == 200
    assert sorted(sizes) == [("mail", 150), ("other", 50)]


async def test_a_great_many_enqueues_do_not_wait_for_the_end_of_the_turn() -> None:
    sizes: list[int] = []

    def note(request: Request) -> object:
        sizes.append(len(request.args[1]))
        return enqueue_reply(request, sum(sizes[:-1]))

    with FakeBroker(answering({"enqueue": note})) as broker:
        async with AsyncClient(broker.url) as client:
            ids = await asyncio.gather(*(client.enqueue("mail", "t") for _ in range(600)))

    assert len(set(ids)) == 600
    assert sizes == [256, 256, 88]


async def test_of_enqueues_that_travelled_together_only_the_one_to_blame_fails() -> None:
    def serves(request: Request) -> object:
        if any(b"bad" in job for job in request.args[1]):
            return PayloadTooLarge("the payload is bad", details={"index": 3})
        return enqueue_reply(request)

    with FakeBroker(answering({"enqueue": serves})) as broker:
        async with AsyncClient(broker.url, codec="raw") as client:
            payloads = [b"good"] * 3 + [b"bad"] + [b"good"] * 3
            outcomes = await asyncio.gather(
                *(client.enqueue("mail", "t", payload) for payload in payloads),
                return_exceptions=True,
            )

    assert [isinstance(outcome, PayloadTooLarge) for outcome in outcomes] == [
        payload == b"bad" for payload in payloads
    ]


@pytest.mark.parametrize("refusal", [SequenceTooOld, InternalError, StoreFull])
async def test_a_refusal_that_concerns_all_or_says_too_little_is_not_tried_again(
    refusal: type[BrokerError],
) -> None:
    seen: list[int] = []

    def serves(request: Request) -> object:
        seen.append(len(request.args[1]))
        return refusal("no")

    with FakeBroker(answering({"enqueue": serves})) as broker:
        async with AsyncClient(broker.url) as client:
            outcomes = await asyncio.gather(
                *(client.enqueue("mail", "t") for _ in range(5)), return_exceptions=True
            )

    assert [type(outcome) for outcome in outcomes] == [refusal] * 5
    assert seen == [5]


async def test_an_enqueue_that_is_cancelled_before_it_left_is_not_sent() -> None:
    sizes: list[int] = []

    def note(request: Request) -> object:
        sizes.append(len(request.args[1]))
        return enqueue_reply(request)

    with FakeBroker(answering({"enqueue": note})) as broker:
        async with AsyncClient(broker.url) as client:
            await client.enqueue("mail", "first")
            tasks = [asyncio.ensure_future(client.enqueue("mail", "t")) for _ in range(3)]
            asyncio.get_running_loop().call_soon(tasks[1].cancel)
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert [isinstance(each, asyncio.CancelledError) for each in outcomes] == [False, True, False]
    assert sizes == [1, 2]


async def test_jobs_may_come_from_an_async_iterable() -> None:
    async def jobs() -> AsyncIterator[NewJob]:
        for number in range(25):
            await asyncio.sleep(0)
            yield NewJob("t", number)

    sizes: list[int] = []

    def note(request: Request) -> object:
        sizes.append(len(request.args[1]))
        return enqueue_reply(request)

    with FakeBroker(answering({"enqueue": note})) as broker:
        async with AsyncClient(broker.url) as client:
            ids = await client.enqueue_many("mail", jobs(), chunk_jobs=10)

    assert len(ids) == 25
    assert sizes == [10, 10, 5]


async def test_a_refused_chunk_tells_which_jobs_were_stored() -> None:
    def serves(request: Request) -> object:
        if request.args[3] == 2:
            return QueueFull("full", details={"index": 4})
        return enqueue_reply(request)

    with FakeBroker(answering({"enqueue": serves})) as broker:
        async with AsyncClient(broker.url) as client:
            with pytest.raises(PartlyEnqueued, match="full") as caught:
                await client.enqueue_many("mail", [NewJob("t")] * 25, chunk_jobs=10)

    assert [text is None for text in caught.value.ids] == [False] * 10 + [True] * 10 + [False] * 5
    assert isinstance(caught.value.__cause__, QueueFull)
    assert caught.value.__cause__.details["index"] == 14


async def test_a_client_stays_with_its_loop() -> None:
    with FakeBroker(answering({})) as broker:
        async with AsyncClient(broker.url) as client:
            await client.ping()

            with pytest.raises(RuntimeError, match="one event loop"):
                await asyncio.to_thread(asyncio.run, client.ping())


async def test_an_idle_client_keeps_its_connection_alive() -> None:
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

    with FakeBroker(serves) as broker:
        async with AsyncClient(broker.url) as client:
            await client.stats()
            await happened(pinged)


def test_any_event_loop_will_do() -> None:
    def breaks(peer: Peer) -> None:
        peer.hello()
        peer.expect("enqueue")
        peer.reset()

    async def use(url: str) -> list[str]:
        async with AsyncClient(url) as client:
            return await asyncio.gather(*(client.enqueue("mail", "t") for _ in range(200)))

    for new_loop in (asyncio.new_event_loop, uvloop.new_event_loop):
        with (
            FakeBroker(breaks, answering({"enqueue": enqueue_reply})) as broker,
            asyncio.Runner(loop_factory=new_loop) as runner,
        ):
            assert len(runner.run(use(broker.url))) == 200
