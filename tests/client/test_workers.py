"""Both clients look at workers and tell them things; a worker's link hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tenure import AsyncClient, Client, WorkerInfo, WorkerJob, WorkerNotFound, WorkerSilent
from tenure.aio import async_client_over
from tenure.aio_link import AsyncLink
from tenure.client import client_over
from tenure.core import fleet, work
from tenure.settings import Settings, settings_of
from tenure.sync_link import SyncLink
from tenure_protocol.ids import encode_id
from tests.client.both import Connect, InThread
from tests.support.broker_process import BrokerProcess

INFO = {
    "name": "mailer", "host": "h1", "pid": 42, "version": "0.2.0", "app": "shop:app",
    "queues": ["mail", "bulk"], "concurrency": 4, "pools": [{"name": "main"}], "started_at_ms": 5,
}  # fmt: skip
BEAT = {
    "state": "consuming", "busy": 1, "slots": 4, "rss_bytes": 1 << 20, "ready": True,
    "jobs": [[bytes(16), 1, "t", "mail", 7, "main"], ["odd"]], "done": 3, "failed": 1,
    "children": [{"pid": 43}],
}  # fmt: skip


def settings(url: str) -> Settings:
    """Settings of a link as a worker makes them."""
    return settings_of(
        url,
        name="worker",
        codec="msgpack",
        timeout="30s",
        connect_timeout="5s",
        reconnect=True,
        compress_over=False,
    )


@pytest.fixture
def client(broker: BrokerProcess, connect: Connect) -> Iterator[Any]:
    with connect(broker.url, name="person") as made:
        yield made


@pytest.fixture
def worker(broker: BrokerProcess) -> Iterator[Client]:
    """A connection that is a worker; it says goodbye at the end."""
    with Client(broker.url, name="worker") as made:
        made._link.call(fleet.register(INFO))
        made._link.call(fleet.beat(BEAT))
        yield made
        made.goodbye()


def test_workers_are_seen_with_what_they_told(client: Any, worker: Client) -> None:
    [info] = client.workers()
    assert isinstance(info, WorkerInfo)
    assert client.worker("mailer") == client.worker(info.id) == info
    assert (info.name, info.queues, info.state, info.busy) == (
        "mailer", ("mail", "bulk"), "consuming", 1,
    )  # fmt: skip
    assert info.jobs == (WorkerJob(encode_id(bytes(16)), 1, "t", "mail", 7, "main"),)
    assert (info.pools, info.children) == (({"name": "main"},), ({"pid": 43},))
    assert info.client == "worker"
    assert info.registered_at_ms <= info.seen_at_ms


def test_a_worker_that_told_nothing_can_be_looked_at(client: Any, broker: BrokerProcess) -> None:
    with Client(broker.url, name="silent") as silent:
        silent._link.call(fleet.register({"pid": "none", "queues": 5}))
        info = client.worker("silent")
        assert (info.pid, info.queues, info.jobs, info.ready) == (0, (), (), False)
        silent.goodbye()


def test_no_worker_is_found_where_there_is_none(client: Any) -> None:
    assert client.workers() == []
    for ask in (client.worker, lambda name: client.tell_worker(name, "stop")):
        with pytest.raises(WorkerNotFound):
            ask("nobody")
    with pytest.raises(WorkerNotFound):
        client.worker_stacks("nobody")


def test_odd_orders_are_refused_before_they_leave(client: Any) -> None:
    with pytest.raises(ValueError, match="quiet, resume, stop"):
        client.tell_worker("mailer", "dance")
    with pytest.raises(TypeError):
        client.worker("")


def test_a_worker_that_does_not_answer_is_silent(client: Any, worker: Client) -> None:
    with pytest.raises(WorkerSilent) as refusal:
        client.worker_stacks("mailer", 0.001)
    assert refusal.value.retryable


def test_a_worker_hears_what_it_is_told(client: Any, broker: BrokerProcess) -> None:
    async def be_a_worker(ready: asyncio.Event) -> list[str]:
        link, heard = AsyncLink(settings(broker.url)), asyncio.Queue[dict[str, Any]]()
        link.on_notice = lambda kind, details: heard.put_nowait({"kind": kind, **details})
        await link.call(fleet.register(INFO))
        ready.set()
        done: list[str] = []
        while done[-1:] != ["stop"]:
            notice = await heard.get()
            assert notice["kind"] == "worker"
            done.append(notice["do"])
            if notice["do"] == "stacks":
                await link.call(fleet.report(notice["token"], "all is well"))
        await link.close()
        return done

    async def scene() -> list[str]:
        ready = asyncio.Event()
        working = asyncio.create_task(be_a_worker(ready))
        await ready.wait()
        for do in ("quiet", "resume"):
            told = await asyncio.to_thread(client.tell_worker, "mailer", do)
            assert told == 1
        assert await asyncio.to_thread(client.worker_stacks, "mailer") == "all is well"
        await asyncio.to_thread(client.tell_worker, "mailer", "stop")
        return await working

    assert asyncio.run(asyncio.wait_for(scene(), 30)) == ["quiet", "resume", "stacks", "stop"]


def test_a_link_tells_of_its_connections(tmp_path: Any) -> None:
    async def scene(broker: BrokerProcess) -> list[bool]:
        link, seen = AsyncLink(settings(broker.url)), []
        changed = asyncio.Event()

        def note(is_open: bool) -> None:
            seen.append(is_open)
            changed.set()

        link.on_connection = note
        await link.call(fleet.keep(None))
        waiting = asyncio.create_task(link.call(work.reserve_rows("q", 1, 600_000)))
        await asyncio.sleep(0)
        changed.clear()
        await asyncio.to_thread(broker.kill)
        await changed.wait()
        with pytest.raises(ConnectionError):
            await waiting
        await asyncio.to_thread(broker.start)
        await link.call(fleet.keep(None))
        await link.close()
        return seen

    with BrokerProcess(tmp_path) as broker:
        assert asyncio.run(asyncio.wait_for(scene(broker), 60)) == [True, False, True]


def test_a_client_over_a_given_link_works_like_any_other(broker: BrokerProcess) -> None:
    given = settings(broker.url)
    with client_over(SyncLink(given), given) as made:
        job_id = made.enqueue("over", "t", {"a": 1})
        [job] = made.reserve("over")
        assert (job.id, job.payload) == (job_id, {"a": 1})
        made.ack(job)

    async def scene() -> None:
        link = AsyncLink(given)
        async with async_client_over(link, given) as client:
            assert isinstance(client, AsyncClient)
            ids = await asyncio.gather(*(client.enqueue("over", "t") for _ in range(5)))
            jobs = await client.reserve("over", max_jobs=10)
            assert [job.id for job in jobs] == ids
            await client.ack(jobs)

    asyncio.run(scene())


def test_looking_waits_for_no_worker(client: Any, worker: Client) -> None:
    asked = InThread(client.worker_stacks, "mailer", 0.2)
    assert client.worker("mailer").state == "consuming"
    with pytest.raises(WorkerSilent):
        asked.result()
