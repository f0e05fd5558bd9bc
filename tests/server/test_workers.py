"""Workers tell the broker who they are and what they do; people see it, and tell them things."""

from __future__ import annotations

from typing import Any

import pytest

from tenure_protocol import limits
from tenure_protocol.wire import pack, unpack
from tenure_server.worker_operations import DEPTH_MAX, VALUES_MAX
from tenure_server.workers import LOST_MAX, LOST_SHOWN_MS, QUESTIONS_MAX
from tests.server.support import HeldStore, Running, Wire, body, running

INFO = {
    "name": "mailer", "host": "h1", "pid": 42, "version": "0.2.0", "app": "shop:app",
    "queues": ["mail"], "concurrency": 4, "pools": [{"name": "main"}], "started_at_ms": 5,
}  # fmt: skip
BEAT: dict[str, Any] = {
    "state": "consuming", "busy": 1, "slots": 4, "rss_bytes": 1 << 20, "ready": True,
    "jobs": [[bytes(16), 1, "t", "mail", 7, "main"]], "done": 3, "failed": 1, "children": [],
}  # fmt: skip


async def worker(broker: Running, name: str = "mailer", **more: object) -> tuple[Wire, str]:
    """A worker that has registered, and its id."""
    wire = await broker.hello()
    told = await wire.do("worker.register", {**INFO, "name": name, **more})
    return wire, told["worker"]


async def code(wire: Wire, op: str, args: object) -> str:
    """The code that a request is refused with."""
    status, error = await wire.ask(op, args)
    assert status == 1, error
    return str(error[0])


async def listed(wire: Wire) -> list[dict[str, Any]]:
    """All workers."""
    told = await wire.do("worker.list", {})
    assert told["complete"] is True
    return list(told["workers"])


async def notice(wire: Wire) -> list[Any]:
    """The next notice to a worker."""
    frame = await wire.frame()
    assert frame[:2] == [0, 2], frame
    return list(frame[2])


# ---- telling -----------------------------------------------------------------------------


async def test_what_a_worker_told_is_shown_as_it_came() -> None:
    async with running() as broker:
        wire, worker_id = await worker(broker, colour="blue")
        person = await broker.hello()
        [shown] = await listed(person)
        assert shown["state"] == "starting"
        assert await wire.do("worker.beat", {**BEAT, "mood": "good"}) == {}
        got = await person.do("worker.get", {"worker": worker_id})
        assert got == (await listed(person))[0]
        assert {key: got[key] for key in (*INFO, *BEAT)} == {**INFO, **BEAT}
        assert (got["worker"], got["client"], got["colour"], got["mood"]) == (
            worker_id, "test", "blue", "good",
        )  # fmt: skip
        assert 0 < got["registered_at_ms"] <= got["seen_at_ms"]


async def test_a_beat_replaces_the_last_one() -> None:
    async with running() as broker:
        wire, worker_id = await worker(broker)
        await wire.do("worker.beat", BEAT)
        await wire.do("worker.beat", {"state": "quiet"})
        shown = await wire.do("worker.get", {"worker": worker_id})
        assert shown["state"] == "quiet"
        assert "jobs" not in shown
        assert shown["host"] == "h1"


async def test_a_worker_cannot_pretend_to_be_another() -> None:
    async with running() as broker:
        wire, worker_id = await worker(broker, worker="abcdef", client="somebody", seen_at_ms=1)
        [shown] = await listed(wire)
        assert (shown["worker"], shown["client"]) == (worker_id, "test")
        assert shown["seen_at_ms"] > 1


async def test_a_worker_without_a_name_has_that_of_its_client() -> None:
    async with running() as broker:
        wire = await broker.hello(client="web-1")
        await wire.do("worker.register", {})
        assert [each["name"] for each in await listed(wire)] == ["web-1"]


async def test_a_beat_before_the_registration_is_refused() -> None:
    async with running() as broker:
        await worker(broker)
        stranger = await broker.hello()
        assert await code(stranger, "worker.beat", BEAT) == "WORKER_NOT_FOUND"


async def test_registering_again_replaces_what_was_told_and_keeps_the_id() -> None:
    async with running() as broker:
        wire, worker_id = await worker(broker)
        again = await wire.do("worker.register", {"name": "other"})
        assert again == {"worker": worker_id}
        [shown] = await listed(wire)
        assert shown["name"] == "other"
        assert "host" not in shown


# ---- limits ------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["worker.register", "worker.beat"])
async def test_what_a_worker_tells_may_be_as_long_as_the_limit_and_not_longer(op: str) -> None:
    async with running() as broker:
        wire, _ = await worker(broker)
        most = limits.WORKER_INFO_BYTES_MAX
        fits = {"name": "n", "text": "x" * (most - len(pack({"name": "n", "text": "x" * 9_999})))}
        fits["text"] += "x" * (most - len(pack(fits)))
        assert len(pack(fits)) == most
        await wire.do(op, fits)
        status, error = await wire.ask(op, {**fits, "text": fits["text"] + "x"})
        assert (status, error[0]) == (1, "BAD_REQUEST")
        assert error[3] == {"bytes": most + 1, "limit": most}


async def test_a_thousand_jobs_fit_into_a_beat() -> None:
    async with running() as broker:
        wire, worker_id = await worker(broker)
        jobs = [[bytes(16), 1, "send_email", "mail", 1_750_000_000_000, "main"]] * 1_000
        await wire.do("worker.beat", {"jobs": jobs})
        assert (await wire.do("worker.get", {"worker": worker_id}))["jobs"] == jobs


async def test_what_is_nested_too_deep_or_has_too_many_values_is_refused() -> None:
    async with running() as broker:
        wire, worker_id = await worker(broker)
        deep: object = 1
        for _ in range(DEPTH_MAX - 2):
            deep = [deep]
        await wire.do("worker.beat", {"deep": deep})
        assert await code(wire, "worker.beat", {"deep": [deep]}) == "BAD_REQUEST"
        many: list[object] = [[] for _ in range(VALUES_MAX // 17 + 1)]
        assert await code(wire, "worker.beat", {"many": many}) == "BAD_REQUEST"
        shown = await wire.do("worker.get", {"worker": worker_id})
        assert shown["deep"] == deep


@pytest.mark.parametrize("name", ["", 5, "x" * (limits.CLIENT_NAME_CHARS_MAX + 1)])
async def test_a_name_that_is_none_is_refused(name: object) -> None:
    async with running() as broker:
        wire = await broker.hello()
        assert await code(wire, "worker.register", {"name": name}) == "BAD_REQUEST"
        await wire.do("worker.register", {"name": "x" * limits.CLIENT_NAME_CHARS_MAX})


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("worker.register", ["mailer"]),
        ("worker.beat", "fine"),
        ("worker.get", {}),
        ("worker.get", {"worker": ""}),
        ("worker.tell", {"worker": "mailer"}),
        ("worker.tell", {"worker": "mailer", "do": "dance"}),
        ("worker.tell", {"worker": "mailer", "do": "stacks"}),
        ("worker.stacks", []),
        ("worker.stacks", {"worker": 5}),
        ("worker.stacks", {"worker": "mailer", "timeout_ms": -1}),
        ("worker.stacks", {"worker": "mailer", "timeout_ms": limits.WAIT_MS_MAX + 1}),
        ("worker.report", {"token": "1", "text": ""}),
        ("worker.report", {"token": 1}),
    ],
    ids=str,
)
async def test_odd_arguments_are_refused_and_the_connection_goes_on(op: str, args: object) -> None:
    async with running() as broker:
        wire, _ = await worker(broker)
        assert await code(wire, op, args) == "BAD_REQUEST"
        await wire.do("ping", [])


async def test_a_long_list_leaves_out_what_is_long_and_then_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as broker:
        for name in ("a", "b", "c"):
            wire, _ = await worker(broker, name)
            await wire.do("worker.beat", {**BEAT, "jobs": BEAT["jobs"] * 100})
        monkeypatch.setattr("tenure_server.workers.LISTED_BYTES_MAX", 8_000)
        told = await wire.do("worker.list", {})
        assert [each["name"] for each in told["workers"]] == ["a", "b", "c"]
        assert not any("jobs" in each for each in told["workers"])
        assert told["complete"] is True
        monkeypatch.setattr("tenure_server.workers.LISTED_BYTES_MAX", 300)
        told = await wire.do("worker.list", {})
        assert (len(told["workers"]), told["complete"]) == (1, False)


async def test_a_list_looks_only_into_the_workers_that_it_shows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as broker:
        for name in ("a", "b", "c", "d", "e"):
            wire, _ = await worker(broker, name)
            await wire.do("worker.beat", {**BEAT, "jobs": BEAT["jobs"] * 100})
        looked_into: list[int] = []

        def counted(data: bytes) -> object:
            looked_into.append(len(data))
            return unpack(data)

        monkeypatch.setattr("tenure_server.workers.unpack", counted)
        monkeypatch.setattr("tenure_server.workers.LISTED_BYTES_MAX", 1_000)
        told = await wire.do("worker.list", {})
        assert 1 < len(told["workers"]) < 5
        assert sum(looked_into) < 1_000


# ---- all together ----


def telling(size: int) -> dict[str, object]:
    """A map of exactly so many bytes as it travels."""
    told = {"name": "w", "x": "y" * 300}
    told["x"] = "y" * (300 + size - len(pack(told)))
    if len(pack(told)) != size:
        told["x"] = told["x"][: len(told["x"]) + size - len(pack(told))]
    assert len(pack(told)) == size
    return dict(told)


async def test_what_workers_tell_is_bounded_all_together_and_a_little_is_always_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    large = limits.WORKER_INFO_BYTES_SURE + 1
    monkeypatch.setattr("tenure_server.workers.WORKERS_BYTES_MAX", 3 * large)
    async with running() as broker:
        wires = [await broker.hello() for _ in range(4)]
        for wire in wires[:3]:
            await wire.do("worker.register", telling(large))

        status, error = await wires[3].ask("worker.register", telling(large))

        assert (status, error[0], error[2]) == (1, "TOO_MANY_WORKERS", True)
        assert error[3] == {"limit": 3 * large}
        assert len(broker.hub.workers) == 3
        await wires[3].do("worker.register", telling(limits.WORKER_INFO_BYTES_SURE))
        await wires[3].do("worker.beat", {**BEAT, "busy": 7})
        assert await code(wires[3], "worker.beat", telling(large)) == "TOO_MANY_WORKERS"
        shown = await wires[3].do("worker.list", {})
        assert [each.get("busy") for each in shown["workers"]].count(7) == 1, "the last beat stands"
        # Whoever tells less, or goes, makes room.
        await wires[0].do("worker.register", telling(1_000))
        await wires[3].do("worker.beat", telling(large))
        await wires[1].do("goodbye", [None])
        await wires[0].do("worker.beat", telling(large))
        assert await code(wires[0], "worker.register", telling(large)) == "TOO_MANY_WORKERS"


async def test_lost_workers_are_forgotten_before_a_connected_one_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    large = limits.WORKER_INFO_BYTES_SURE + 1
    monkeypatch.setattr("tenure_server.workers.WORKERS_BYTES_MAX", 2 * large)
    async with running() as broker:
        for _ in range(2):
            wire = await broker.hello()
            await wire.do("worker.register", telling(large))
            wire.writer.transport.abort()
            await broker.until(lambda: len(broker.hub.workers) == 0)
        person = await broker.hello()
        assert len(await listed(person)) == 2

        await person.do("worker.register", telling(large))

        assert sorted(each["state"] for each in await listed(person)) == ["lost", "starting"]


async def test_questions_for_stacks_that_wait_are_bounded() -> None:
    async with running({"limits.requests_per_connection": 10_000}) as broker:
        _, worker_id = await worker(broker)
        person = await broker.hello()
        for _ in range(QUESTIONS_MAX):
            person.post("worker.stacks", {"worker": worker_id, "timeout_ms": 3_600_000})

        status, error = await person.ask("worker.stacks", {"worker": worker_id})

        assert (status, error[0], error[2]) == (1, "TOO_MANY_WAITING", True)
        assert error[3] == {"limit": QUESTIONS_MAX}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
async def test_a_number_that_is_none_is_not_taken_from_a_worker(number: float) -> None:
    async with running() as broker:
        wire = await broker.hello()
        assert await code(wire, "worker.register", {"x": [{"y": number}]}) == "BAD_REQUEST"
        assert "now_ms" in await wire.do("ping", [])


# ---- coming and going ----------------------------------------------------------------------


async def test_a_worker_that_says_goodbye_is_gone_at_once() -> None:
    async with running() as broker:
        wire, _ = await worker(broker)
        person = await broker.hello()
        await wire.do("goodbye", [None])
        await wire.closed()
        assert await listed(person) == []
        assert (await person.do("stats", {}))["workers"] == 0


async def test_a_worker_whose_connection_breaks_is_shown_as_lost_for_a_while() -> None:
    async with running() as broker:
        wire, worker_id = await worker(broker)
        await wire.do("worker.beat", BEAT)
        person = await broker.hello()
        wire.writer.transport.abort()
        await broker.until(lambda: len(broker.hub.workers) == 0)
        [shown] = await listed(person)
        assert (shown["state"], shown["worker"], shown["busy"]) == ("lost", worker_id, 1)
        assert await code(person, "worker.tell", {"worker": "mailer", "do": "stop"}) == (
            "WORKER_NOT_FOUND"
        )
        assert await code(person, "worker.stacks", {"worker": worker_id}) == "WORKER_NOT_FOUND"
        broker.advance(LOST_SHOWN_MS - 1_000)
        assert len(await listed(person)) == 1
        broker.advance(1_000)
        assert await listed(person) == []
        assert await code(person, "worker.get", {"worker": "mailer"}) == "WORKER_NOT_FOUND"


async def test_a_worker_that_comes_back_with_its_session_keeps_its_id() -> None:
    async with running() as broker:
        wire = await Wire.connect(broker.port)
        _, hello = await wire.ask("hello", {"protocol": [1, 1], "client": "w"})
        told = await wire.do("worker.register", INFO)
        wire.writer.transport.abort()
        await broker.until(lambda: len(broker.hub.workers) == 0)
        again = await broker.hello(session=hello["session"])
        assert await again.do("worker.register", INFO) == told
        [shown] = await listed(again)
        assert shown["state"] == "starting"
        assert len(broker.hub.workers) == 1


async def test_a_worker_that_comes_back_before_its_break_was_noticed_keeps_its_id() -> None:
    async with running() as broker:
        wire = await Wire.connect(broker.port)
        _, hello = await wire.ask("hello", {"protocol": [1, 1], "client": "w"})
        told = await wire.do("worker.register", INFO)
        again = await broker.hello(session=hello["session"])
        assert await again.do("worker.register", INFO) == told
        assert len(await listed(again)) == 1


async def test_only_so_many_lost_workers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LOST_MAX == 1_000
    monkeypatch.setattr("tenure_server.workers.LOST_MAX", 3)
    async with running() as broker:
        person = await broker.hello()
        for number in range(6):
            wire, _ = await worker(broker, f"w{number}")
            wire.writer.transport.abort()
            await broker.until(lambda: len(broker.hub.workers) == 0)
        assert [each["name"] for each in await listed(person)] == ["w3", "w4", "w5"]


# ---- by id and by name -----------------------------------------------------------------------


async def test_a_name_that_two_workers_have_names_neither_but_tells_both() -> None:
    async with running() as broker:
        one, one_id = await worker(broker)
        two, two_id = await worker(broker)
        person = await broker.hello()
        status, error = await person.ask("worker.get", {"worker": "mailer"})
        assert (status, error[0]) == (1, "BAD_REQUEST")
        assert one_id in error[1]
        assert two_id in error[1]
        told = await person.do("worker.tell", {"worker": "mailer", "do": "quiet"})
        assert told == {"told": 2}
        for wire in (one, two):
            kind, details = await notice(wire)
            assert (kind, details["do"]) == ("worker", "quiet")
        assert await person.do("worker.tell", {"worker": one_id, "do": "resume"}) == {"told": 1}
        assert (await notice(one))[1]["do"] == "resume"


async def test_a_connected_worker_is_meant_before_a_lost_one_of_its_name() -> None:
    async with running() as broker:
        lost, _ = await worker(broker)
        lost.writer.transport.abort()
        await broker.until(lambda: len(broker.hub.workers) == 0)
        wire, worker_id = await worker(broker)
        assert (await wire.do("worker.get", {"worker": "mailer"}))["worker"] == worker_id


@pytest.mark.parametrize("op", ["worker.get", "worker.tell", "worker.stacks"])
async def test_a_worker_that_nobody_knows_is_not_found(op: str) -> None:
    async with running() as broker:
        wire = await broker.hello()
        assert await code(wire, op, {"worker": "nobody", "do": "stop"}) == "WORKER_NOT_FOUND"


# ---- stacks --------------------------------------------------------------------------------


async def test_who_asks_for_stacks_is_told_what_the_worker_reports() -> None:
    async with running() as broker:
        wire, worker_id = await worker(broker)
        person = await broker.hello()
        asked = person.post("worker.stacks", {"worker": worker_id, "timeout_ms": 60_000})
        kind, details = await notice(wire)
        assert (kind, details["do"]) == ("worker", "stacks")
        report = {"token": details["token"], "text": "Thread 1\n  line 5"}
        assert await wire.do("worker.report", report) == {}
        assert await person.reply(asked) == (0, {"text": "Thread 1\n  line 5"})
        assert await wire.do("worker.report", report) == {}


async def test_stacks_are_cut() -> None:
    async with running() as broker:
        wire, worker_id = await worker(broker)
        person = await broker.hello()
        for length in (limits.STACKS_CHARS_MAX, limits.STACKS_CHARS_MAX + 1):
            asked = person.post("worker.stacks", {"worker": worker_id})
            token = (await notice(wire))[1]["token"]
            await wire.do("worker.report", {"token": token, "text": "ö" * length})
            _, told = await person.reply(asked)
            assert told["text"] == "ö" * limits.STACKS_CHARS_MAX


async def test_only_the_worker_that_was_asked_can_answer() -> None:
    async with running() as broker:
        wire, worker_id = await worker(broker)
        other, _ = await worker(broker, "other")
        person = await broker.hello()
        asked = person.post("worker.stacks", {"worker": worker_id})
        token = (await notice(wire))[1]["token"]
        await other.do("worker.report", {"token": token, "text": "forged"})
        await wire.do("worker.report", {"token": token, "text": "true"})
        assert await person.reply(asked) == (0, {"text": "true"})


async def test_a_worker_that_does_not_answer_in_time_is_silent() -> None:
    async with running() as broker:
        _, worker_id = await worker(broker)
        person = await broker.hello()
        status, error = await person.ask("worker.stacks", {"worker": worker_id, "timeout_ms": 1})
        assert (status, error[0], error[2]) == (1, "WORKER_SILENT", True)
        assert error[3] == {"worker": worker_id}


async def test_a_worker_that_goes_away_is_silent_at_once() -> None:
    async with running() as broker:
        wire, worker_id = await worker(broker)
        person = await broker.hello()
        asked = person.post("worker.stacks", {"worker": worker_id, "timeout_ms": 3_600_000})
        await notice(wire)
        wire.writer.transport.abort()
        status, error = await person.reply(asked)
        assert (status, error[0]) == (1, "WORKER_SILENT")


async def test_whoever_asked_may_go_away_before_the_answer() -> None:
    async with running() as broker:
        wire, worker_id = await worker(broker)
        person = await broker.hello()
        person.post("worker.stacks", {"worker": worker_id, "timeout_ms": 3_600_000})
        token = (await notice(wire))[1]["token"]
        person.writer.transport.abort()
        await broker.until(lambda: len(broker.hub.connections) == 1)
        assert await wire.do("worker.report", {"token": token, "text": "late"}) == {}


async def test_a_broker_that_is_stopping_asks_nobody_for_stacks() -> None:
    store = HeldStore()
    async with running(store=store) as broker:
        _, worker_id = await worker(broker)
        person = await broker.hello()
        store.holding = True
        person.post("enqueue", ["q", [body()]])
        await broker.until(lambda: len(store.held) == 1)
        broker.broker.stop()
        assert (await notice(person))[0] == "draining"
        asked = {"worker": worker_id, "timeout_ms": 3_600_000}
        assert await code(person, "worker.stacks", asked) == "DRAINING"
        store.let_go()


async def test_a_broker_that_stops_waits_for_nobodys_stacks() -> None:
    async with running() as broker:
        wire, worker_id = await worker(broker)
        person = await broker.hello()
        asked = person.post("worker.stacks", {"worker": worker_id, "timeout_ms": 3_600_000})
        await notice(wire)
        broker.broker.stop()
        status, error = await person.reply(asked)
        assert (status, error[0]) == (1, "DRAINING")
        person.close()
        wire.close()
        assert await broker.exit_code() == 0


async def test_a_broker_that_drains_still_knows_its_workers() -> None:
    async with running() as broker:
        wire, worker_id = await worker(broker)
        await wire.do("drain", {})
        await wire.do("worker.beat", BEAT)
        assert (await wire.do("worker.get", {"worker": worker_id}))["busy"] == 1


async def test_the_features_that_a_worker_needs_are_named() -> None:
    async with running() as broker:
        wire = await Wire.connect(broker.port)
        _, hello = await wire.ask("hello", {"protocol": [1, 1], "client": "w"})
        assert {"keep", "notes", "workers"} <= set(hello["features"])
