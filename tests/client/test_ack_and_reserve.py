"""Jobs acked and the next ones leased in one trip, for both clients."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tenure import AsyncClient, BadRequest, Client, Draining, LeaseLost, NewJob, Reconnect
from tenure.testing import TestBroker
from tests.client.both import Connect, InThread
from tests.client.fake_broker import SECONDS_MAX, FakeBroker, Peer, Request, answering, job_row
from tests.support.broker_process import BrokerProcess

HELD = ("0" * 26, 1)
"""A lease that the scripts of a fake broker do not look at."""

GIVEN_BACK = [[[bytes(15) + b"\x03", 1]]]
"""What a release of `job_row(3)` says."""


def both_of(peer: Peer) -> tuple[Request, Request]:
    """The ack and the reserve of one call."""
    return peer.expect("ack"), peer.expect("reserve")


def test_a_job_is_acked_with_its_result_and_the_next_one_is_leased(client: Any, queue: str) -> None:
    first, second = client.enqueue_many(queue, [NewJob("t", 1), NewJob("t", 2)], retention="1h")
    (job,) = client.reserve(queue, wait="10s")

    outcomes, (following,) = client.ack_and_reserve(job, queue, result={"pages": 3}, lease="1h")

    assert [(outcome.ok, outcome.info) for outcome in outcomes] == [(True, {})]
    assert (client.get(first).state, client.get(first).result) == ("succeeded", {"pages": 3})
    assert (following.id, following.attempt, following.payload) == (second, 1, 2)
    assert (following.leased_until - job.leased_until).total_seconds() > 1_800
    assert client.ack_and_reserve((second, 1), queue)[1] == []


def test_many_are_acked_each_with_its_own_result_and_the_next_ones_are_leased(
    client: Any, queue: str
) -> None:
    ids = client.enqueue_many(queue, [NewJob("t")] * 5, retention="1h")
    jobs = client.reserve(queue, max_jobs=3, wait="10s")

    outcomes, following = client.ack_and_reserve(
        iter(jobs), [queue], results=[1, "two", None], max_jobs=10
    )

    assert [outcome.ok for outcome in outcomes] == [True] * 3
    assert [client.get(job_id).result for job_id in ids[:3]] == [1, "two", None]
    assert [job.id for job in following] == ids[3:]


def test_a_lost_lease_is_an_outcome_while_the_next_job_is_leased(client: Any, queue: str) -> None:
    ids = client.enqueue_many(queue, [NewJob("t")] * 3)
    jobs = client.reserve(queue, max_jobs=2, wait="10s")

    outcomes, following = client.ack_and_reserve([(jobs[0].id, 99), jobs[1]], queue)

    assert [outcome.ok for outcome in outcomes] == [False, True]
    assert isinstance(outcomes[0].error, LeaseLost)
    assert [job.id for job in following] == ids[2:]
    lost, nothing = client.ack_and_reserve((ids[2], 99), queue)
    assert isinstance(lost[0].error, LeaseLost)
    assert nothing == []


def test_a_job_acked_again_is_answered_as_the_first_time(client: Any, queue: str) -> None:
    client.enqueue(queue, "t")
    (job,) = client.reserve(queue, wait="10s")

    answers = [client.ack_and_reserve(job, queue)[0][0] for _ in range(2)]

    assert [(answer.ok, answer.error) for answer in answers] == [(True, None)] * 2


def test_without_jobs_it_is_a_reserve(client: Any, queue: str) -> None:
    job_id = client.enqueue(queue, "t")

    outcomes, (job,) = client.ack_and_reserve([], queue, wait="10s")

    assert (outcomes, job.id) == ([], job_id)


def test_an_ack_and_the_next_lease_are_one_commit(client: Any, queue: str) -> None:
    client.enqueue_many(queue, [NewJob("t")] * 21)
    jobs = client.reserve(queue, wait="10s")
    before = client.stats()["commit"]["batches"]
    for _ in range(20):
        outcomes, jobs = client.ack_and_reserve(jobs, queue)
        assert outcomes[0].ok
        assert len(jobs) == 1

    assert client.stats()["commit"]["batches"] - before == 20


def test_the_ack_counts_while_the_reserve_still_waits(
    client: Any, queue: str, broker: BrokerProcess, connect: Connect
) -> None:
    job_id = client.enqueue(queue, "t", retention="1h")
    (job,) = client.reserve(queue, wait="10s")
    with connect(broker.url) as consumer:
        consuming = InThread(consumer.ack_and_reserve, job, queue, wait="20s")

        assert client.wait(job_id, timeout="20s").state == "succeeded"
        following = client.enqueue(queue, "t")
        outcomes, jobs = consuming.result()

    assert outcomes[0].ok
    assert [each.id for each in jobs] == [following]


def test_mistakes_in_the_arguments_are_told_before_anything_is_sent(connect: Connect) -> None:
    with connect("tenure://127.0.0.1:1", reconnect=False) as client:
        with pytest.raises(ValueError, match="results has 2 items for 1 jobs"):
            client.ack_and_reserve(HELD, "mail", results=[1, 2])
        with pytest.raises(ValueError, match="max_jobs"):
            client.ack_and_reserve(HELD, "mail", max_jobs=0)


def test_the_client_of_the_test_kit_acks_and_reserves_too(tenure: TestBroker) -> None:
    client = tenure.client
    ids = client.enqueue_many("mail", [NewJob("t"), NewJob("t")], retention="1h")

    outcomes, jobs = client.ack_and_reserve(client.reserve("mail"), "mail")

    assert [outcome.ok for outcome in outcomes] == [True]
    assert [job.id for job in jobs] == ids[1:]
    assert [client.get(job_id).state for job_id in ids] == ["succeeded", "leased"]


# -- when it goes wrong ---------------------------------------------------------------


def test_jobs_leased_beside_a_refused_ack_are_given_back_at_once(connect: Connect) -> None:
    released = threading.Event()

    def refuses(peer: Peer) -> None:
        peer.hello()
        ack, reserve = both_of(peer)
        peer.reply(reserve, [job_row(3)])
        peer.refuse(ack, BadRequest("too many"))
        assert peer.expect("release").args == GIVEN_BACK
        released.set()
        peer.until_gone()

    with FakeBroker(refuses) as broker, connect(broker.url) as client:
        with pytest.raises(BadRequest, match="too many"):
            client.ack_and_reserve(HELD, "mail")

        assert released.wait(SECONDS_MAX)


def test_jobs_that_come_after_a_refused_ack_are_given_back_too(connect: Connect) -> None:
    raised, asked_again = threading.Event(), threading.Event()
    asked: dict[str, Any] = {}

    def refuses(peer: Peer) -> None:
        peer.hello()
        ack, reserve = both_of(peer)
        peer.refuse(ack, BadRequest("too many"))
        assert raised.wait(SECONDS_MAX)
        peer.reply(reserve, [job_row(3)])
        for _ in range(2):
            request = peer.request()
            asked[request.op] = request.args
            peer.reply(request, {})
        asked_again.set()
        peer.until_gone()

    with FakeBroker(refuses) as broker, connect(broker.url) as client:
        with pytest.raises(BadRequest):
            client.ack_and_reserve(HELD, "mail", wait="1m")
        raised.set()
        client.stats()

        assert asked_again.wait(SECONDS_MAX)
    assert asked.keys() == {"release", "stats"}
    assert asked["release"] == GIVEN_BACK


def test_when_the_reserve_is_refused_the_ack_stands_and_nothing_is_given_back(
    connect: Connect,
) -> None:
    def refuses(peer: Peer) -> None:
        peer.hello()
        ack, reserve = both_of(peer)
        peer.refuse(reserve, Draining("stopping"))
        peer.reply(ack, [0])
        again = peer.expect("ack")
        assert again.args == ack.args
        peer.reply(again, [[0, {"repeated": True}]])
        peer.until_gone()

    with FakeBroker(refuses) as broker, connect(broker.url) as client:
        with pytest.raises(Draining):
            client.ack_and_reserve(HELD, "mail")

        assert client.ack(HELD) == {"repeated": True}


def test_when_both_are_refused_the_ack_is_what_is_told(connect: Connect) -> None:
    def refuses(peer: Peer) -> None:
        peer.hello()
        ack, reserve = both_of(peer)
        peer.refuse(reserve, Draining("stopping"))
        peer.refuse(ack, BadRequest("too many"))
        peer.until_gone()

    with (
        FakeBroker(refuses) as broker,
        connect(broker.url) as client,
        pytest.raises(BadRequest, match="too many"),
    ):
        client.ack_and_reserve(HELD, "mail")


def test_both_are_repeated_after_a_break(connect: Connect) -> None:
    def breaks(peer: Peer) -> None:
        peer.hello()
        both_of(peer)
        peer.reset()

    answers = answering({"ack": lambda _: [0], "reserve": lambda _: [job_row(3)]})
    quick = Reconnect(base_ms=1, cap_ms=5)
    with FakeBroker(breaks, answers) as broker, connect(broker.url, reconnect=quick) as client:
        outcomes, jobs = client.ack_and_reserve(HELD, "mail")

    assert [outcome.ok for outcome in outcomes] == [True]
    assert len(jobs) == 1


# -- when it is interrupted -----------------------------------------------------------


class Interrupting:
    """A script that answers one of the two requests, or none, before the call is interrupted.

    The rest of the answers come when `gone` is set.
    """

    def __init__(self, answered: str | None) -> None:
        self._answered = answered
        self.arrived, self.gone, self.released = (threading.Event() for _ in range(3))

    def __call__(self, peer: Peer) -> None:
        peer.hello()
        requests = {request.op: request for request in both_of(peer)}
        results: dict[str, object] = {"ack": [0], "reserve": [job_row(3)]}
        if self._answered is not None:
            peer.reply(requests.pop(self._answered), results[self._answered])
        self.arrived.set()
        # Whoever has this answer has read what came before.
        peer.reply(peer.expect("stats"), {})
        assert self.gone.wait(SECONDS_MAX)
        for op, request in requests.items():
            peer.reply(request, results[op])
        while True:
            request = peer.request()
            peer.reply(request, {})
            if request.op == "release":
                assert request.args == GIVEN_BACK
                self.released.set()


@pytest.fixture
def interrupted() -> Iterator[threading.Event]:
    """The first Ctrl-C, and no other, raises `KeyboardInterrupt`, whoever runs the tests."""
    happened = threading.Event()

    def once(number: int, frame: object) -> None:
        if not happened.is_set():
            happened.set()
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, once)
    yield happened
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("answered", [None, "ack", "reserve"])
def test_nothing_stays_leased_when_a_call_that_blocks_is_interrupted(
    interrupted: threading.Event, answered: str | None
) -> None:
    script = Interrupting(answered)
    with FakeBroker(script) as broker, Client(broker.url) as client:
        main = threading.get_ident()

        def interrupt() -> None:
            assert script.arrived.wait(SECONDS_MAX)
            client.stats()
            # A signal that comes just before a thread blocks does not wake it.
            while not interrupted.wait(0.01):
                signal.pthread_kill(main, signal.SIGINT)

        interrupting = InThread(interrupt)
        with pytest.raises(KeyboardInterrupt):
            client.ack_and_reserve(HELD, "mail", wait="1m")
        interrupting.result()
        script.gone.set()
        if answered != "reserve":
            # A client that blocks reads what comes late when it is used next.
            client.stats()

        assert script.released.wait(SECONDS_MAX)


@pytest.mark.parametrize("answered", [None, "ack", "reserve"])
async def test_nothing_stays_leased_when_a_call_that_waits_is_cancelled(
    answered: str | None,
) -> None:
    script = Interrupting(answered)
    with FakeBroker(script) as broker:
        async with AsyncClient(broker.url) as client:
            call = asyncio.create_task(client.ack_and_reserve(HELD, "mail", wait="1m"))
            assert await asyncio.to_thread(script.arrived.wait, SECONDS_MAX)
            await client.stats()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            script.gone.set()

            assert await asyncio.to_thread(script.released.wait, SECONDS_MAX)
