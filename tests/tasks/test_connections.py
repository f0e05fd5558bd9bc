"""An app connects by itself: once for all threads, once for each loop, anew after a fork."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tenure import App, AsyncClient, Client, JobHandle
from tenure.tasks import connections
from tests.support.broker_process import BrokerProcess
from tests.tasks.conftest import MakeApp


def test_all_threads_share_a_client(app: App) -> None:
    with ThreadPoolExecutor(8) as pool:
        clients = set(pool.map(lambda _: app.client, range(64)))

    assert len(clients) == 1


def test_a_closed_app_connects_again(app: App) -> None:
    before = app.client
    before.ping()
    app.close()
    app.close()

    assert app.client is not before
    app.client.ping()


def test_an_app_can_be_told_to_use_another_broker(app: App) -> None:
    elsewhere = App("tenure://localhost:1")
    assert app.url is not None
    elsewhere.connect_to(app.url)

    elsewhere.client.ping()
    assert elsewhere.url == app.url
    elsewhere.close()
    with pytest.raises(ValueError, match="nonsense"):
        elsewhere.connect_to("nonsense://")


def test_each_loop_has_a_client_of_its_own(app: App) -> None:
    async def clients() -> tuple[AsyncClient, AsyncClient]:
        both = await app.aclient(), await app.aclient()
        await both[0].ping()
        await app.aclose()
        await app.aclose()
        return both

    first, second = asyncio.run(clients()), asyncio.run(clients())

    assert first[0] is first[1]
    assert second[0] is second[1]
    assert first[0] is not second[0]


def test_clients_of_loops_that_ended_are_forgotten(app: App) -> None:
    async def use() -> None:
        await app.aclient()

    for _ in range(5):
        asyncio.run(use())

    assert len(app._connections._aclients) == 1


def test_the_broker_shows_the_name_of_the_app(make_app: MakeApp) -> None:
    app = make_app(name="shop")

    @app.task
    def work() -> None: ...

    assert work.enqueue().info().origin.startswith("shop@")


def test_the_url_may_come_from_the_environment(broker: BrokerProcess, monkeypatch: Any) -> None:
    monkeypatch.setenv("TENURE_URL", broker.url)
    app = App(queue="environment")

    @app.task
    def work() -> None: ...

    assert work.enqueue().status() == "ready"
    app.close()


def test_another_source_replaces_the_clients_of_every_app(app: App, make_app: MakeApp) -> None:
    other = make_app()

    class Source:
        eager = False

        def client(self, asked: App) -> Client:
            return app._connections.client()

        async def aclient(self, asked: App) -> AsyncClient:
            return app._connections.aclient()

    own = other.client
    with connections.using(Source()):
        assert other.client is app.client is not own
        with connections.using(Source()):
            assert other.client is app.client
        assert connections.source() is not None
    assert connections.source() is None
    assert other.client is own


def test_a_child_of_a_fork_enqueues_jobs_of_its_own(app: App) -> None:
    @app.task
    def work(who: str) -> None: ...

    handles = [work.enqueue("parent")]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        # Nothing of pytest may run here, whatever happens.
        code = 1
        try:
            for _ in range(3):
                os.write(writing, work.enqueue("child").id.encode() + b"\n")
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    handles += [work.enqueue("parent") for _ in range(3)]
    _, status = os.waitpid(child, 0)
    with open(reading) as lines:
        handles += [JobHandle(app, line.strip(), work) for line in lines]

    assert os.waitstatus_to_exitcode(status) == 0
    assert len({handle.id for handle in handles}) == 7
    assert [handle.info().payload["who"] for handle in handles] == ["parent"] * 4 + ["child"] * 3


def test_a_lock_held_at_a_fork_does_not_stop_the_child(app: App) -> None:
    with app._connections._lock:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                app.client.ping()
                code = 0
            finally:
                os._exit(code)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
