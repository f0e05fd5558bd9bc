"""What the blocking client writes arrives, whatever the socket takes at a time."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tenure.channel import Channel


@pytest.fixture
def pair() -> Iterator[tuple[Channel, socket.socket]]:
    """A channel, and who reads what it writes."""
    here, there = socket.socketpair()
    here.setblocking(False)
    channel = Channel()
    channel.adopt(here)
    yield channel, there
    channel.close()
    there.close()


def test_a_socket_that_takes_nothing_loses_nothing(pair: tuple[Channel, socket.socket]) -> None:
    channel, reader = pair
    written = b""
    # Small pieces: in the end one meets a socket that is full already.
    while not channel.unwritten:
        piece = bytes([len(written) % 251]) * 1_000
        channel.write(piece)
        written += piece
    assert len(channel.unwritten) == 1_000

    received = b""
    while len(received) < len(written):
        received += reader.recv(1 << 20)
        channel.write(b"")

    assert received == written
    assert not channel.unwritten


def test_a_pause_ends_when_there_is_room_again(pair: tuple[Channel, socket.socket]) -> None:
    channel, reader = pair
    channel.write(b"x" * 10_000_000)
    assert channel.unwritten
    assert channel.pause(0) == []

    reader.recv(1 << 20)

    assert channel.is_ready(channel.pause(10_000))


def test_a_wake_ends_a_pause_and_is_nothing_to_read(pair: tuple[Channel, socket.socket]) -> None:
    channel, _ = pair
    channel.wake()

    events = channel.pause(10_000)

    assert events
    assert not channel.is_ready(events)
    assert channel.pause(0) == []


def test_a_connection_that_the_broker_closed_is_an_error(
    pair: tuple[Channel, socket.socket],
) -> None:
    channel, reader = pair
    reader.close()

    assert channel.is_ready(channel.pause(10_000))
    with pytest.raises(ConnectionResetError, match="closed by the broker"):
        channel.receive()
