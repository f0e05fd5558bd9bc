"""When and where a client connects again."""

from __future__ import annotations

from tenure.address import Address
from tenure.core.reconnect import STEADY_MS, Dialer, Reconnect, next_pause_ms
from tenure.errors import Draining, ProtocolViolation, UnsupportedProtocol

A, B = Address("a", 1), Address("b", 2)
REFUSED = ConnectionRefusedError()


def dialer(*addresses: Address, policy: Reconnect | None, timeout_ms: int = 5_000) -> Dialer:
    made = Dialer(addresses or (A,), policy, timeout_ms, lambda: 0.5)
    made.started(0)
    return made


def test_pauses_grow_by_chance_up_to_the_cap() -> None:
    policy = Reconnect(base_ms=100, cap_ms=1_000)

    assert next_pause_ms(policy, 0, 0.99) == 100
    assert next_pause_ms(policy, 100, 0.0) == 100
    assert next_pause_ms(policy, 100, 0.5) == 200
    assert next_pause_ms(policy, 400, 0.999) == 1_000


def test_addresses_are_tried_in_turn_with_a_pause_after_each_round() -> None:
    tries = dialer(A, B, policy=Reconnect(base_ms=100, cap_ms=1_000))

    assert tries.address == A
    assert tries.failed(10, REFUSED) is None
    assert (tries.address, tries.at_ms) == (B, 10)
    assert tries.failed(20, REFUSED) is None
    assert (tries.address, tries.at_ms) == (A, 120)


def test_a_client_that_never_connected_gives_up_after_its_time() -> None:
    tries = dialer(policy=Reconnect())

    assert tries.failed(4_999, REFUSED) is None
    error = tries.failed(5_000, REFUSED)

    assert error is not None
    assert error.__cause__ is REFUSED
    assert "a:1" in str(error)


def test_a_client_that_was_connected_never_gives_up() -> None:
    tries = dialer(policy=Reconnect())
    tries.opened(0)
    tries.lost(10_000, ConnectionResetError())

    assert tries.at_ms == 10_000, "at once"
    assert tries.failed(1_000_000, REFUSED) is None


def test_a_connection_that_breaks_at_once_is_not_tried_again_at_once() -> None:
    tries = dialer(policy=Reconnect(base_ms=100))
    tries.opened(1_000)

    tries.lost(1_000 + STEADY_MS - 1, ConnectionResetError())

    assert tries.at_ms > 1_000 + STEADY_MS - 1


def test_without_a_policy_there_is_one_round() -> None:
    tries = dialer(A, B, policy=None)

    assert tries.failed(0, REFUSED) is None
    assert tries.failed(0, REFUSED) is not None


def test_a_peer_that_will_never_do_is_given_up_at_once() -> None:
    for error in (ProtocolViolation("x"), UnsupportedProtocol("x")):
        assert dialer(policy=Reconnect()).failed(1, error) is not None
    assert dialer(policy=Reconnect()).failed(1, Draining("x")) is None
