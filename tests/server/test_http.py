"""Metrics, health and scaling over HTTP; and that HTTP cannot harm the broker."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tenure_server import counters, engine, exits, operations
from tenure_server.http import bounded, health
from tests.server.support import PATIENCE_S, HeldStore, Running, body, running


async def get(broker: Running, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a request."""
    return await raw(
        broker, f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode()
    )


async def raw(broker: Running, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """What comes back for these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.http_port)
    async with asyncio.timeout(PATIENCE_S):
        writer.write(request)
        answer = await reader.read()
    writer.close()
    head, _, content = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        raise AssertionError("unexpected chunks")
    return int(first.split()[1]), headers, content


async def get_json(broker: Running, path: str) -> tuple[int, Any]:
    """Status and content of a JSON route."""
    status, headers, content = await get(broker, path)
    assert headers["content-type"] == "application/json"
    assert headers["cache-control"] == "no-store"
    return status, json.loads(content)


async def metrics(broker: Running) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of /metrics."""
    status, headers, content = await get(broker, "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=")
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(content.decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in samples, f"{key} twice"
            samples[key] = sample.value
    return samples


def labels(**values: str) -> frozenset[tuple[str, str]]:
    return frozenset(values.items())


async def test_the_index_names_the_routes() -> None:
    async with running(http=True) as broker:
        status, content = await get_json(broker, "/")

        assert status == 200
        assert "/metrics" in content["routes"]


async def test_metrics_count_what_happened_to_jobs() -> None:
    async with running(http=True) as broker:
        wire = await broker.hello()
        await wire.do("enqueue", ["mail", [body(), body(), body(), body(), body()]])
        jobs = await wire.do("reserve", [["mail"], 3, 0])
        await wire.do("ack", [[[jobs[0][0], jobs[0][1]]]])
        await wire.do("fail", [[[jobs[1][0], jobs[1][1], {"dead": True}]]])
        wire.post("reserve", [["empty"], 1, 60_000])
        await wire.do("ping", [])

        found = await metrics(broker)

        def mail(name: str, **more: str) -> float:
            return found[name, labels(queue="mail", **more)]

        assert (
            mail("tenure_queue_jobs", state="ready") + mail("tenure_queue_jobs", state="leased")
            == 3
        )
        assert mail("tenure_queue_jobs", state="dead") == 1
        assert mail("tenure_jobs_enqueued_total") == 5
        assert mail("tenure_jobs_leased_total") == 3
        assert mail("tenure_jobs_completed_total", outcome="succeeded") == 1
        assert mail("tenure_jobs_completed_total", outcome="dead") == 1
        assert mail("tenure_jobs_dead_total") == 1
        assert mail("tenure_queue_paused") == 0
        assert found["tenure_connections", labels()] == 1
        assert found["tenure_requests_total", labels(op="enqueue")] == 1
        assert found["tenure_requests_total", labels(op="reserve")] == 2
        assert found["tenure_storage_commit_duration_seconds_count", labels()] >= 1
        assert found["tenure_storage_batch_jobs_bucket", labels(le="+Inf")] >= 1
        assert found["process_resident_memory_bytes", labels()] > 1_000_000
        build = [key for key in found if key[0] == "tenure_build_info"]
        assert {name for name, _ in build[0][1]} == {"version", "python", "lmdb"}


async def test_the_names_that_dashboards_rely_on_are_there() -> None:
    async with running(http=True) as broker:
        wire = await broker.hello()
        await wire.do("queue.create", {"queue": "q"})

        names = {name for name, _ in await metrics(broker)}

        assert names >= {
            "tenure_backup_last_success_timestamp_seconds",
            "tenure_build_info",
            "tenure_config_last_reload_success",
            "tenure_connections",
            "tenure_consumers",
            "tenure_damaged_records",
            "tenure_event_loop_lag_seconds_bucket",
            "tenure_jobs_cancelled_total",
            "tenure_jobs_completed_total",
            "tenure_jobs_dead_total",
            "tenure_jobs_deduplicated_total",
            "tenure_jobs_enqueued_total",
            "tenure_jobs_expired_total",
            "tenure_jobs_failed_total",
            "tenure_jobs_leased_total",
            "tenure_jobs_rejected_total",
            "tenure_jobs_retried_total",
            "tenure_lease_expirations_total",
            "tenure_lease_extensions_total",
            "tenure_leases",
            "tenure_queue_backlog_seconds",
            "tenure_queue_jobs",
            "tenure_queue_limit_jobs",
            "tenure_queue_oldest_ready_age_seconds",
            "tenure_queue_paused",
            "tenure_request_errors_total",
            "tenure_requests_total",
            "tenure_storage_batch_jobs_bucket",
            "tenure_storage_commit_duration_seconds_bucket",
            "tenure_storage_free_pages",
            "tenure_storage_full",
            "tenure_storage_limit_bytes",
            "tenure_storage_readers",
            "tenure_storage_size_bytes",
        }


async def test_only_so_many_queues_get_series_and_the_rest_are_summed_as_other() -> None:
    async with running({"limits.metric_queues": 3}, http=True) as broker:
        wire = await broker.hello()
        for number in range(10):
            await wire.do("enqueue", [f"q{number}", [body()] * (number + 1)])

        found = await metrics(broker)

        queues = {dict(key)["queue"] for name, key in found if name == "tenure_jobs_enqueued_total"}
        assert queues == {"q0", "q1", "q2", "other"}
        assert found["tenure_jobs_enqueued_total", labels(queue="other")] == sum(range(4, 11))
        assert found["tenure_queue_jobs", labels(queue="other", state="ready")] == sum(range(4, 11))
        assert found["tenure_metrics_queues_folded", labels()] == 7


async def test_names_from_clients_do_not_become_labels() -> None:
    async with running(http=True) as broker:
        wire = await broker.hello(client='evil"} 1\nfake_metric 5')
        await wire.ask('evil"} 1\nfake_metric 5', [])

        found = await metrics(broker)

        assert found["tenure_requests_total", labels(op="unknown")] == 1
        assert not any("evil" in str(key) or "fake" in str(key) for key in found)


async def test_ready_names_every_check() -> None:
    async with running(http=True) as broker:
        status, content = await get_json(broker, "/readyz")

        assert (status, content["ok"], content["failing"]) == (200, True, [])
        assert set(content["checks"]) == {"store", "accepting", "loop", "disk"}
        assert (await get_json(broker, "/livez"))[0] == 200


async def test_a_draining_broker_is_not_ready_but_alive() -> None:
    async with running(http=True) as broker:
        wire = await broker.hello()
        await wire.do("drain", {})

        status, content = await get_json(broker, "/readyz")

        assert (status, content["failing"]) == (503, ["accepting"])
        assert content["checks"]["accepting"] == {"ok": False, "says": "draining"}
        assert (await get_json(broker, "/livez"))[0] == 200
        await wire.do("drain", {"off": True})
        assert (await get_json(broker, "/readyz"))[0] == 200


async def test_a_latched_broker_is_not_ready() -> None:
    store = HeldStore()
    async with running(store=store) as broker:
        wire = await broker.hello()
        store.holding = True
        wire.post("enqueue", ["q", [body()]])
        await broker.until(lambda: len(store.held) == 1)
        store.fail(OSError(5, "Input/output error"))
        assert await broker.exit_code() == exits.IO_ERROR

        report = health.report(health.ready(broker.hub))

        assert report["failing"] == ["store", "accepting"]


async def test_a_stuck_loop_is_neither_ready_nor_alive() -> None:
    async with running(http=True) as broker:
        broker.hub.counters.last_lag_us = 6_000_000

        assert health.report(health.live(broker.hub))["failing"] == ["loop"]
        assert health.report(health.ready(broker.hub))["failing"] == ["loop"]


async def test_a_full_store_is_told_and_stays_reachable() -> None:
    async with running(http=True) as broker:
        broker.hub.capacity.level = "full"

        status, content = await get_json(broker, "/readyz")

        assert (status, content["checks"]["disk"]["says"]) == (200, "full")


async def test_scale_tells_the_work_that_needs_a_worker() -> None:
    async with running(http=True) as broker:
        wire = await broker.hello()
        await wire.do("enqueue", ["mail", [body()] * 5])
        await wire.do("enqueue", ["mail", [[body(), {"delay_ms": 60_000}]]])
        await wire.do("reserve", [["mail"], 2, 0])

        status, content = await get_json(broker, "/v1/queues/mail/scale")

        assert status == 200
        assert content["backlog"] == 5
        assert (content["ready"], content["leased"], content["scheduled"]) == (3, 2, 1)
        assert content["backlog_seconds"] is None


@pytest.mark.parametrize("name", ["absent", "UPPER", "%00", "x" * 300, "%F0%9F%92%A5"])
async def test_scale_of_an_unknown_queue_is_404(name: str) -> None:
    async with running(http=True) as broker:
        status, content = await get_json(broker, f"/v1/queues/{name}/scale")

        assert (status, content["error"]) == (404, "QUEUE_NOT_FOUND")


@pytest.mark.parametrize(
    "path", ["/nothing", "/v1/queues/q", "/v1/queues/..%2f../scale", "/metrics/../etc/passwd", "//"]
)
async def test_an_unknown_route_is_404(path: str) -> None:
    async with running(http=True) as broker:
        status, content = await get_json(broker, path)

        assert (status, content["error"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_can_be_changed_over_http(method: str) -> None:
    async with running(http=True) as broker:
        assert (await get(broker, "/v1/queues/q/scale", method))[0] == 405


async def test_bad_http_and_the_wrong_protocol_harm_nobody() -> None:
    async with running(http=True) as broker:
        wire = await broker.hello()

        assert (await raw(broker, b"\0\0\0\5\x93\x01\xa1x\xc0\r\n\r\n"))[0] == 400
        assert (await raw(broker, b"GET / HTTP/9.9\r\n\r\n"))[0] == 400
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.http_port)
        writer.write(b"GET /metrics HT")
        writer.close()

        assert "now_ms" in await wire.do("ping", [])
        assert (await get_json(broker, "/readyz"))[0] == 200
        await reader.read()


async def test_headers_without_end_are_cut_off() -> None:
    async with running(http=True) as broker:
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.http_port)
        writer.write(b"GET / HTTP/1.1\r\n")
        line = b"x: " + b"y" * 1000 + b"\r\n"

        writer.write(line * 20)

        async with asyncio.timeout(PATIENCE_S):
            assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()


async def test_idle_http_connections_are_bounded_and_the_broker_is_not_harmed() -> None:
    async with running(http=True) as broker:
        idle = [
            await asyncio.open_connection("127.0.0.1", broker.http_port)
            for _ in range(bounded.CONNECTIONS_MAX)
        ]
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.http_port)

        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        assert "now_ms" in await (await broker.hello()).do("ping", [])
        for _, each in [*idle, (reader, writer)]:
            each.close()


async def test_an_http_connection_does_not_live_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "LIFE_S", 0.05)
    async with running(http=True) as broker:
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.http_port)
        writer.write(b"GET / HT")

        async with asyncio.timeout(PATIENCE_S):
            assert await reader.read() == b""
        writer.close()


async def test_a_fault_while_scraping_is_a_500_and_the_broker_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(http=True) as broker:
        wire = await broker.hello()
        await wire.do("enqueue", ["q", [body()]])

        def broken(*_: object) -> None:
            raise AssertionError("this cannot be")

        with monkeypatch.context() as patched:
            patched.setattr(broker.hub.engine, "queue_info", broken)
            assert (await get(broker, "/metrics"))[0] == 500

        assert "now_ms" in await wire.do("ping", [])
        assert (await get(broker, "/metrics"))[0] == 200


async def test_an_open_http_connection_does_not_hold_up_the_stop() -> None:
    async with running(http=True) as broker:
        _, writer = await asyncio.open_connection("127.0.0.1", broker.http_port)
        writer.write(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")

        broker.broker.stop()

        assert await broker.exit_code() == 0
        writer.close()


async def test_many_scrapes_at_once_are_all_answered() -> None:
    async with running(http=True) as broker:
        answers = await asyncio.gather(*(get(broker, "/metrics") for _ in range(20)))

        assert [status for status, _, _ in answers] == [200] * 20


async def test_metrics_of_many_queues_are_one_valid_page_and_let_clients_in_between() -> None:
    async with running(http=True) as broker:
        wire = await broker.hello()
        for number in range(130):
            await wire.do("queue.create", {"queue": f"q{number}"})
        turns = 0
        scrape = asyncio.create_task(metrics(broker))
        while not scrape.done():
            await wire.do("ping", [])
            turns += 1

        found = await scrape
        assert sum(name == "tenure_queue_paused" for name, _ in found) == 130
        assert turns > 5


def test_every_operation_has_a_series_of_its_own() -> None:
    assert set(counters.OPERATIONS) == {*engine.OPERATIONS, *operations.OPERATIONS}
