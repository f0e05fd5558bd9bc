"""What happens to requests when the connection breaks, for both clients."""

from __future__ import annotations

import threading

import pytest

from tenure import (
    CannotConnect,
    ClientClosed,
    ConnectionLost,
    Draining,
    FrameTooLarge,
    OutcomeUnknown,
    ProtocolViolation,
    Reconnect,
    RequestTimeout,
    TooManyConnections,
)
from tests.client.both import Connect, InThread
from tests.client.fake_broker import (
    SECONDS_MAX,
    SESSION,
    FakeBroker,
    Peer,
    Request,
    answering,
    enqueue_reply,
    job_row,
)

QUICK = Reconnect(base_ms=1, cap_ms=5)


def test_an_enqueue_in_flight_is_repeated_with_its_sequence(connect: Connect) -> None:
    seen: list[tuple[bytes, int]] = []

    def breaks(peer: Peer) -> None:
        peer.hello()
        request = peer.expect("enqueue")
        seen.append((request.args[2], request.args[3]))
        peer.reset()

    def answers(peer: Peer) -> None:
        assert peer.hello().args["session"] == SESSION, "the session is resumed"
        request = peer.expect("enqueue")
        seen.append((request.args[2], request.args[3]))
        peer.reply(request, enqueue_reply(request))
        peer.until_gone()

    with FakeBroker(breaks, answers) as broker, connect(broker.url, reconnect=QUICK) as client:
        client.enqueue("mail", "send")

    assert seen[0] == seen[1]


def test_an_ack_in_flight_is_repeated(connect: Connect) -> None:
    def breaks(peer: Peer) -> None:
        peer.hello()
        peer.reply(peer.expect("reserve"), [job_row()])
        peer.expect("ack")
        peer.close()

    acked = answering({"ack": lambda request: [[0, {"repeated": True}]]})
    with FakeBroker(breaks, acked) as broker, connect(broker.url, reconnect=QUICK) as client:
        (job,) = client.reserve("mail")

        assert client.ack(job) == {"repeated": True}


def test_a_waiting_reserve_is_repeated_for_the_rest_of_its_time(connect: Connect) -> None:
    waits: list[int] = []

    def breaks(peer: Peer) -> None:
        peer.hello()
        waits.append(peer.expect("reserve").args[2])
        peer.close()

    def answers(request: Request) -> object:
        waits.append(request.args[2])
        return [job_row()]

    again = answering({"reserve": answers})
    with FakeBroker(breaks, again) as broker, connect(broker.url, reconnect=QUICK) as client:
        (job,) = client.reserve("mail", wait="10s")

    assert job.payload == 1
    assert 0 < waits[1] <= waits[0] <= 10_000


@pytest.mark.parametrize(
    ("op", "method", "arguments"),
    [
        ("queue.purge", "purge_queue", ("mail",)),
        ("queue.create", "create_queue", ("mail",)),
        ("queue.delete", "delete_queue", ("mail",)),
        ("dlq.replay", "replay", ("mail",)),
        ("dlq.purge", "purge_dead", ("mail",)),
    ],
)
def test_what_cannot_be_repeated_says_that_its_outcome_is_unknown(
    connect: Connect, op: str, method: str, arguments: tuple[str, ...]
) -> None:
    def breaks(peer: Peer) -> None:
        peer.hello()
        peer.expect(op)
        peer.close()

    with (
        FakeBroker(breaks) as broker,
        connect(broker.url, reconnect=QUICK) as client,
        pytest.raises(OutcomeUnknown, match=op),
    ):
        getattr(client, method)(*arguments)


def test_a_reserve_that_acks_by_itself_is_not_repeated(connect: Connect) -> None:
    def breaks(peer: Peer) -> None:
        peer.hello()
        peer.expect("reserve")
        peer.close()

    with (
        FakeBroker(breaks) as broker,
        connect(broker.url, reconnect=QUICK) as client,
        pytest.raises(OutcomeUnknown, match="reserve"),
    ):
        client.reserve("mail", auto_ack=True)


def test_a_request_that_never_left_is_sent_whatever_it_is(connect: Connect) -> None:
    def greets_and_closes(peer: Peer) -> None:
        peer.expect("hello")
        peer.close()

    purges = answering({"queue.purge": lambda request: {"purged": 3}})
    with (
        FakeBroker(greets_and_closes, purges) as broker,
        connect(broker.url, reconnect=QUICK) as client,
    ):
        assert client.purge_queue("mail") == 3


def test_a_connection_closed_while_idle_is_found_before_the_next_request(connect: Connect) -> None:
    closed = threading.Event()

    def closes(peer: Peer) -> None:
        peer.hello()
        peer.reply(peer.expect("stats"), {})
        peer.close()
        closed.set()

    purges = answering({"queue.purge": lambda request: {"purged": 3}})
    with FakeBroker(closes, purges) as broker, connect(broker.url, reconnect=QUICK) as client:
        client.stats()
        assert closed.wait(SECONDS_MAX)

        assert client.purge_queue("mail") == 3


def test_without_reconnecting_a_break_is_told_at_once(connect: Connect) -> None:
    def breaks(peer: Peer) -> None:
        peer.hello()
        peer.expect("stats")
        peer.close()

    with (
        FakeBroker(breaks, answering({"stats": lambda request: {"jobs": 1}})) as broker,
        connect(broker.url, reconnect=False) as client,
    ):
        with pytest.raises(ConnectionLost, match=str(broker.port)):
            client.stats()

        assert client.stats() == {"jobs": 1}, "the next call connects again"


def test_no_broker_is_an_error_that_names_the_address_and_says_what_to_do(connect: Connect) -> None:
    with FakeBroker(lambda peer: None) as broker:
        url, port = broker.url, broker.port

    with (
        connect(url, reconnect=False) as client,
        pytest.raises(CannotConnect, match=rf"127\.0\.0\.1:{port}.*is the broker running"),
    ):
        client.ping()


def test_a_client_that_never_had_a_connection_gives_up_after_connect_timeout(
    connect: Connect,
) -> None:
    with FakeBroker(lambda peer: None) as broker:
        url = broker.url

    with (
        connect(url, connect_timeout="50ms", reconnect=QUICK) as client,
        pytest.raises(CannotConnect, match="refused"),
    ):
        client.ping()


def test_the_second_host_is_tried_when_the_first_is_not_there(connect: Connect) -> None:
    with FakeBroker(lambda peer: None) as gone:
        first = f"127.0.0.1:{gone.port}"

    with (
        FakeBroker(answering({"stats": lambda request: {}})) as broker,
        connect(f"tenure://{first},127.0.0.1:{broker.port}", reconnect=False) as client,
    ):
        assert client.stats() == {}


def test_a_broker_that_accepts_and_never_answers_the_hello_is_given_up(connect: Connect) -> None:
    def silent(peer: Peer) -> None:
        peer.until_gone()

    with (
        FakeBroker(silent) as broker,
        connect(broker.url, connect_timeout="50ms", reconnect=False) as client,
        pytest.raises(CannotConnect),
    ):
        client.ping()


def test_a_request_without_an_answer_times_out_and_the_next_one_gets_a_new_connection(
    connect: Connect,
) -> None:
    def silent(peer: Peer) -> None:
        peer.hello()
        peer.until_gone()

    works = answering({"stats": lambda request: {"jobs": 2}})
    with (
        FakeBroker(silent, works) as broker,
        connect(broker.url, timeout="200ms", reconnect=QUICK) as client,
    ):
        with pytest.raises(RequestTimeout, match="did not answer stats within 200ms"):
            client.stats()

        assert client.stats() == {"jobs": 2}


def test_a_long_wait_notices_a_dead_connection_by_its_pings(connect: Connect) -> None:
    def silent(peer: Peer) -> None:
        peer.hello(idle_timeout_ms=60)
        assert peer.request().op == "reserve"
        assert peer.request().op == "ping"
        peer.until_gone()

    works = answering({"reserve": lambda request: [job_row()]})
    with (
        FakeBroker(silent, works) as broker,
        connect(broker.url, timeout="100ms", reconnect=QUICK) as client,
    ):
        assert len(client.reserve("mail", wait="10s")) == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\x00\x00\x01\xc1",
        b"\x00\x00\x00\x02\x91\x01",
        b"\x00\x00\x00\x00",
        b"\xff\xff\xff\xff",
    ],
)
def test_something_else_on_the_port_is_told_as_such(connect: Connect, garbage: bytes) -> None:
    def speaks_otherwise(peer: Peer) -> None:
        peer.request()
        peer.send_raw(garbage)
        peer.until_gone()

    with (
        FakeBroker(speaks_otherwise) as broker,
        connect(broker.url) as client,
        pytest.raises(CannotConnect, match="does not speak Tenure"),
    ):
        client.ping()


def test_garbage_in_an_open_connection_costs_the_connection_and_nothing_else(
    connect: Connect,
) -> None:
    def goes_mad(peer: Peer) -> None:
        peer.hello()
        peer.expect("stats")
        peer.send_raw(b"\x00\x00\x00\x03abc")
        peer.until_gone()

    works = answering({"stats": lambda request: {"jobs": 5}})
    with FakeBroker(goes_mad, works) as broker, connect(broker.url, reconnect=QUICK) as client:
        assert client.stats() == {"jobs": 5}


def test_a_frame_longer_than_any_limit_is_refused_before_it_is_kept(connect: Connect) -> None:
    def boasts(peer: Peer) -> None:
        peer.hello(limits={"frame_bytes_max": 2**40})
        peer.expect("stats")
        peer.send_raw((2**31).to_bytes(4, "big") + b"x")
        assert peer.until_gone() == []

    works = answering({"stats": lambda request: {"jobs": 6}})
    with FakeBroker(boasts, works) as broker, connect(broker.url, reconnect=QUICK) as client:
        assert client.stats() == {"jobs": 6}


def test_a_request_over_the_brokers_frame_limit_is_not_sent(connect: Connect) -> None:
    serves = answering({"stats": lambda request: {}}, limits={"frame_bytes_max": 1000})
    with FakeBroker(serves) as broker, connect(broker.url) as client:
        with pytest.raises(FrameTooLarge, match="1000"):
            client.enqueue("mail", "send", b"x" * 2000)

        assert client.stats() == {}
        assert broker.connections == 1


def test_a_full_broker_is_tried_again(connect: Connect) -> None:
    def full(peer: Peer) -> None:
        peer.send([0, 1, TooManyConnections("full").to_wire()])

    works = answering({"stats": lambda request: {"jobs": 7}})
    with FakeBroker(full, works) as broker, connect(broker.url, reconnect=QUICK) as client:
        assert client.stats() == {"jobs": 7}


def test_a_draining_broker_is_noticed_and_its_refusals_reach_the_caller(connect: Connect) -> None:
    def drains(peer: Peer) -> None:
        peer.hello()
        peer.send([0, 2, ["something new", {}]])
        peer.send([0, 2, ["draining", {}]])
        peer.refuse(peer.expect("enqueue"), Draining("the broker is stopping"))
        peer.reply(peer.expect("ack"), [0])
        peer.until_gone()

    with FakeBroker(drains) as broker, connect(broker.url) as client:
        with pytest.raises(Draining):
            client.enqueue("mail", "send")

        assert client.draining
        assert client.ack(("0" * 26, 1)) == {}


def test_closing_ends_the_calls_in_flight(connect: Connect) -> None:
    arrived = threading.Event()

    def silent(peer: Peer) -> None:
        peer.hello()
        peer.expect("reserve")
        arrived.set()
        peer.until_gone()

    with FakeBroker(silent) as broker, connect(broker.url) as client:
        reserving = InThread(client.reserve, "mail", wait="1m")
        assert arrived.wait(SECONDS_MAX)
        client.close()

        with pytest.raises(ClientClosed):
            reserving.result()
        with pytest.raises(ClientClosed):
            client.ping()


def test_a_reply_of_another_shape_is_a_violation_and_not_a_crash(connect: Connect) -> None:
    serves = answering(
        {
            "enqueue": lambda request: {"ids": []},
            "reserve": lambda request: [[b"id"]],
            "ack": lambda request: [],
            "get": lambda request: [],
        }
    )
    with FakeBroker(serves) as broker, connect(broker.url) as client:
        for method, arguments in (
            ("enqueue", ("mail", "send")),
            ("reserve", ("mail",)),
            ("ack", (("0" * 26, 1),)),
            ("get", ("0" * 26,)),
        ):
            with pytest.raises(ProtocolViolation, match=method):
                getattr(client, method)(*arguments)
