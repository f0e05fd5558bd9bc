"""Framing: any cut of the stream gives the same frames, and nothing announced is believed."""

from __future__ import annotations

import tracemalloc

import pytest

from tenure_protocol.errors import ProtocolViolation
from tenure_protocol.frames import FrameDecoder, encode_frame
from tenure_protocol.limits import FRAME_BYTES_MAX
from tenure_protocol.wire import unpack

VALUES = [[1, "ping", []], [2, "ack", [[[b"i" * 16, 1]]]], [3, 0, {"now_ms": 5}]]
STREAM = b"".join(encode_frame(value) for value in VALUES)


def feed(decoder: FrameDecoder, data: bytes, piece: int) -> list[bytes]:
    """Feeds `data` in pieces of `piece` bytes."""
    return [
        body for at in range(0, len(data), piece) for body in decoder.feed(data[at : at + piece])
    ]


def length(count: int) -> bytes:
    return count.to_bytes(4, "big")


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_a_stream_cut_at_any_byte_gives_the_same_frames(cut: int) -> None:
    decoder = FrameDecoder()

    bodies = decoder.feed(STREAM[:cut]) + decoder.feed(STREAM[cut:])

    assert [unpack(body) for body in bodies] == VALUES
    assert not decoder.mid_frame


def test_a_stream_that_comes_byte_by_byte_gives_the_same_frames() -> None:
    decoder = FrameDecoder()

    bodies = feed(decoder, STREAM, 1)

    assert [unpack(body) for body in bodies] == VALUES


def test_a_decoder_knows_whether_a_frame_has_begun_and_how_much_it_holds() -> None:
    decoder = FrameDecoder()
    assert (decoder.mid_frame, decoder.buffered_bytes) == (False, 0)

    decoder.feed(STREAM + b"\0")
    assert (decoder.mid_frame, decoder.buffered_bytes) == (True, 1)

    decoder.feed(b"\0\0\1\xc0")
    assert (decoder.mid_frame, decoder.buffered_bytes) == (False, 0)


def test_bodies_are_bytes_however_they_came() -> None:
    decoder = FrameDecoder()

    bodies = decoder.feed(STREAM[:7]) + decoder.feed(STREAM[7:])

    assert [type(body) for body in bodies] == [bytes, bytes, bytes]


def test_a_frame_of_exactly_the_limit_passes() -> None:
    decoder = FrameDecoder(frame_bytes_max=100)

    assert decoder.feed(length(100) + b"x" * 100) == [b"x" * 100]


@pytest.mark.parametrize("fed", [length(101), length(1) + b"x" + length(101)])
@pytest.mark.parametrize("piece", [1, 2, 100])
def test_a_frame_one_byte_over_the_limit_is_refused_before_its_body_comes(
    fed: bytes, piece: int
) -> None:
    decoder = FrameDecoder(frame_bytes_max=100)

    with pytest.raises(ProtocolViolation) as caught:
        feed(decoder, fed, piece)

    assert caught.value.code == "FRAME_TOO_LARGE"
    assert "101" in caught.value.message
    assert "100" in caught.value.message


@pytest.mark.parametrize("piece", [1, 4])
def test_an_empty_frame_is_refused(piece: int) -> None:
    decoder = FrameDecoder()

    with pytest.raises(ProtocolViolation) as caught:
        feed(decoder, b"\0" * 4, piece)

    assert caught.value.code == "MALFORMED_FRAME"


def test_a_raised_limit_holds_from_the_next_frame_on() -> None:
    decoder = FrameDecoder(frame_bytes_max=1)
    decoder.feed(length(1) + b"x")

    decoder.frame_bytes_max = 2

    assert decoder.feed(length(2) + b"xy") == [b"xy"]


def test_announcing_the_longest_frame_and_sending_one_byte_costs_next_to_nothing() -> None:
    decoders = [FrameDecoder() for _ in range(1_000)]
    tracemalloc.start()
    try:
        for decoder in decoders:
            decoder.feed(length(FRAME_BYTES_MAX) + b"x")
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held < 200_000
    assert peak < 300_000
    assert all(decoder.buffered_bytes == 5 for decoder in decoders)


def test_a_long_frame_in_small_pieces_is_held_about_once() -> None:
    size = 2_000_000
    decoder = FrameDecoder()
    piece = b"x" * 50_000
    decoder.feed(length(size))
    tracemalloc.start()
    try:
        for _ in range(size // len(piece) - 1):
            assert decoder.feed(piece) == []
        held, _ = tracemalloc.get_traced_memory()
        bodies = decoder.feed(piece)
    finally:
        tracemalloc.stop()

    assert held < 1.3 * size
    assert bodies == [b"x" * size]
    assert decoder.buffered_bytes == 0
