"""What parent and child say to each other: in as few frames as its length allows."""

from __future__ import annotations

from typing import Any

import pytest

from tenure.packing import pack
from tenure.worker import pipe


def heard(data: bytes) -> list[list[list[Any]]]:
    """The messages, frame by frame."""
    return [pipe.unpack(body) for body in pipe.new_decoder().feed(data)]


def test_short_messages_travel_in_one_frame_and_in_their_order() -> None:
    said = [["done", key, 0, None] for key in range(1_000)]
    assert heard(pipe.frames(list(map(pack, said)))) == [said]
    assert heard(pipe.frame(said[0])) == [[said[0]]]


@pytest.mark.parametrize(("more", "frames"), [(0, 1), (1, 2)])
def test_long_messages_travel_in_a_frame_each(more: int, frames: int) -> None:
    short = pack(["done", 1, 0, b"x"])
    head = len(pack(["done", 2, 0, bytes(100_000)])) - 100_000
    room = pipe.JOINED_BYTES_MAX - len(short) - head
    long = pack(["done", 2, 0, bytes(room + more)])
    came = heard(pipe.frames([short, long]))
    assert len(came) == frames
    assert [message[1] for messages in came for message in messages] == [1, 2]


@pytest.mark.parametrize(
    "body", [b"\x01", b"\x91\x01", b"\x92\x91\xa1k\x90", b"\x80", b"\x91", b""]
)
def test_what_is_no_array_of_messages_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"message|unpack|incomplete|Unpack"):
        pipe.unpack(body)
