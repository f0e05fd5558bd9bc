"""Whatever comes: a value, or a `ProtocolViolation`."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tenure_protocol import wire
from tenure_protocol.body import Body, check_body, decode_body, is_like
from tenure_protocol.errors import (
    BadRequest,
    PayloadTooLarge,
    ProtocolViolation,
    error_from_wire,
)
from tenure_protocol.frames import FrameDecoder, encode_frame
from tenure_protocol.retry import policy_from_wire
from tenure_protocol.structure import check_structure
from tenure_protocol.wire import pack, unpack

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
    | st.binary(max_size=300)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=40,
)
# Heads of every kind, so that random bytes are more often nearly right.
HEADS = st.sampled_from(
    [b"\x81", b"\x82", b"\x90", b"\x91", b"\x93", b"\x94", b"\xa1", b"\xa3", b"\xc0", b"\xc1", b"\xc4\x02",
     b"\xc5\x00\x01", b"\xc6\xff\xff\xff\xff", b"\xc7\x00\x05", b"\xca", b"\xcb", b"\xd4\x01", b"\xd6\xff",
     b"\xd9\x01", b"\xda\xff\xff", b"\xdb\x00\x00\x00\x02", b"\xdc\x00\x02", b"\xdd\xff\xff\xff\xff",
     b"\xdd\x00\x00\x00\x01", b"\xde\x00\x01", b"\xdf\x00\x0f\xff\xff", b"a", b"\xc3", b"\xff"]
)  # fmt: skip
NEARLY = st.lists(HEADS | st.binary(max_size=3), max_size=60).map(b"".join)


def read(data: bytes) -> tuple[bool, Any]:
    try:
        return True, unpack(data)
    except ProtocolViolation:
        return False, None


@given(st.binary(max_size=2_000) | NEARLY)
def test_any_bytes_are_a_value_or_a_violation_however_they_are_decoded(data: bytes) -> None:
    whole, value = read(data)

    # The same bytes beside filling take each of the other ways through the decoder.
    for filling in (2_000, 2_200_000):
        assert read(b"\x92" + pack(b"f" * filling) + data)[0] == whole
    if whole:
        check_structure(data)
        assert repr(unpack(pack(value))) == repr(value)


@given(VALUES)
def test_every_value_comes_back_as_it_was_sent(value: object) -> None:
    assert unpack(pack(value)) == value
    check_structure(pack(value))


@given(VALUES, st.data())
def test_a_value_with_one_wrong_byte_is_a_value_or_a_violation(
    value: object, data: st.DataObject
) -> None:
    raw = bytearray(pack(value))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))

    whole, _ = read(bytes(raw))

    if whole:
        check_structure(bytes(raw))


@given(st.lists(VALUES, min_size=1, max_size=5), st.data())
def test_frames_cut_anywhere_are_the_frames_that_were_sent(
    values: list[object], data: st.DataObject
) -> None:
    stream = b"".join(encode_frame(value) for value in values)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder = FrameDecoder()

    bodies: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        bodies += decoder.feed(stream[start:end])
        assert decoder.buffered_bytes <= end

    assert [unpack(body) for body in bodies] == values
    assert not decoder.mid_frame


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_a_decoder_holds_no_more_than_it_was_fed_whatever_it_was_fed(chunks: list[bytes]) -> None:
    decoder = FrameDecoder(frame_bytes_max=64)
    fed = given_out = 0
    for chunk in chunks:
        fed += len(chunk)
        try:
            bodies = decoder.feed(chunk)
        except ProtocolViolation:
            return
        given_out += sum(4 + len(body) for body in bodies)
        assert all(1 <= len(body) <= 64 for body in bodies)
        assert decoder.buffered_bytes == fed - given_out
        assert decoder.buffered_bytes < 68


@given(st.binary(max_size=300) | NEARLY | VALUES.map(pack))
def test_any_body_is_taken_or_refused_with_a_code(data: bytes) -> None:
    try:
        check_body(data, 100)
    except (BadRequest, PayloadTooLarge):
        return
    assert isinstance(decode_body(data), Body)


BODIES = st.tuples(
    st.text(max_size=40),
    st.binary(max_size=300),
    st.none() | st.just({"a": 1}),
    st.integers(-1, 300),
)


@given(BODIES, st.data())
def test_the_quick_look_at_a_body_agrees_with_the_thorough_one(
    parts: tuple[Any, ...], data: st.DataObject
) -> None:
    raw = bytearray(wire.pack(list(parts)))
    if data.draw(st.booleans()):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    body = bytes(raw)
    try:
        task, payload, headers, _ = decode_body(body)
    except BadRequest:
        right = False
    else:
        right = len(task.encode()) <= 255 and len(payload) <= 200 and headers in (None, {"a": 1})
        if headers not in (None, {"a": 1}):
            return

    try:
        check_body(body, 200)
        taken = True
    except (BadRequest, PayloadTooLarge):
        taken = False

    assert taken == right


@given(VALUES)
def test_any_value_is_a_retry_policy_or_refused(value: object) -> None:
    try:
        policy_from_wire(value)
    except BadRequest:
        return


@given(VALUES)
def test_any_value_is_an_error_or_a_violation(value: object) -> None:
    try:
        error_from_wire(value)
    except ProtocolViolation:
        return


@given(st.text(min_size=1, max_size=8), st.binary(max_size=40), st.binary(max_size=60), st.data())
def test_what_is_taken_for_like_a_right_body_is_a_right_body(
    task: str, payload: bytes, noise: bytes, data: st.DataObject
) -> None:
    right = pack([task, payload, None, 1])
    head = check_body(right, 100)
    assert head, "the common shape"
    assert is_like(right, head, len(right))
    assert is_like(right[: len(head)] + bytes(len(payload)) + right[-2:], head, len(right))
    start = data.draw(st.integers(0, len(right)))
    bent = right[:start] + noise + right[start + len(noise) :]
    if is_like(bent, head, len(right)):
        check_body(bent, 100)
        assert decode_body(bent).task == task
    for end in (b"\xc0\x80", b"\xc0\xff", b"\x80\x01", b"\xc1\x01"):
        assert not is_like(right[:-2] + end, head, len(right))
    for other in (right[:-1], right + b"\x01", None, [right], bytearray(right)):
        assert not is_like(other, head, len(right))
