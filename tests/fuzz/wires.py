"""The decoders of the wire: frames, values, job bodies, errors, retry policies."""

from __future__ import annotations

from contextlib import suppress

from tenure_protocol.body import Body, check_body, decode_body
from tenure_protocol.errors import BadRequest, PayloadTooLarge, ProtocolViolation, error_from_wire
from tenure_protocol.frames import HEADER_BYTES, FrameDecoder
from tenure_protocol.ids import encode_id
from tenure_protocol.limits import FRAME_BYTES_MAX
from tenure_protocol.retry import RetryPolicy, delay_ms, policy_from_wire, policy_to_wire
from tenure_protocol.wire import pack, unpack
from tenure_server.requests import read_request
from tests.fuzz.choices import Choices
from tests.fuzz.reading import Reading, Refused
from tests.fuzz.requests import Known, body, request
from tests.fuzz.values import damaged, damaged_bytes, odd
from tests.fuzz.world import Fault

FILLINGS = (2_000, 2_200_000)
"""With so many bytes beside it a value takes each of the other ways through the decoder."""


def material(choices: Choices) -> bytes:
    """The bytes of something: a request, a value, or what is nearly one."""
    kind = choices.below(8)
    if kind == 0:
        return choices.rest()
    if kind < 4:
        op, args = request(choices, Known())
        value: object = [1, op, args]
    else:
        value = odd(choices)
    if kind in (2, 3, 5):
        value = damaged(choices, value)
    data = pack(value)
    return damaged_bytes(choices, data) if kind in (3, 5, 6, 7) else data


def values(data: bytes) -> None:
    """`unpack` takes and refuses what the specification does, whichever way it goes."""
    choices = Choices(data)
    filling = choices.below(256)
    raw = material(choices)
    if filling < len(FILLINGS):
        # Rarely, for it takes long: the value as a part of a long frame.
        raw = b"\x92" + pack(b"f" * FILLINGS[filling]) + raw
    try:
        expected, refused = repr(Reading(raw).value()), False
    except Refused:
        expected, refused = "", True
    try:
        value = unpack(raw)
    except ProtocolViolation as violation:
        if violation.code != "MALFORMED_FRAME" or not violation.message:
            raise Fault(f"a violation without a name: {violation!r}") from violation
        if not refused:
            raise Fault(f"refused, but right: {raw[:200].hex()}: {violation}") from violation
        return
    if refused:
        raise Fault(f"taken, but wrong: {raw[:200].hex()}")
    if repr(value) != expected:
        raise Fault(f"{raw[:200].hex()} is read as {value!r:.200}, not as {expected:.200}")
    if repr(unpack(pack(value))) != repr(value):
        raise Fault(f"{value!r:.200} does not come back")
    _readers(raw, value)


def _readers(raw: bytes, value: object) -> None:
    with suppress(ProtocolViolation):
        error_from_wire(value)
    with suppress(BadRequest):
        _check_policy(policy_from_wire(value))
    try:
        read_request(raw)
    except ProtocolViolation:
        return


def _check_policy(policy: RetryPolicy) -> None:
    assert policy_from_wire(policy_to_wire(policy)) == policy
    for failures in (1, 2, 64, 1_000):
        for random in (0.0, 0.999):
            assert 0 <= delay_ms(policy, failures, random) < 1 << 48


def frames(data: bytes) -> None:
    """A stream cut anywhere gives the frames of the stream, and holds no more than it was fed."""
    choices = Choices(data)
    most = choices.pick([64, 4_096, FRAME_BYTES_MAX])
    stream = b"".join(
        len(part).to_bytes(HEADER_BYTES, "big") + part
        for part in (material(choices) or b"\0" for _ in range(1 + choices.below(4)))
    )
    if choices.chance(50):
        stream = damaged_bytes(choices, stream)
    expected, broken = _cut(stream, most)
    decoder, bodies, at = FrameDecoder(most), [], 0
    try:
        while at < len(stream):
            step = 1 + choices.pick([0, 0, 1, 3, 4, 5, 60, 70_000])
            bodies += decoder.feed(stream[at : at + step])
            at += step
            if decoder.buffered_bytes > most + HEADER_BYTES:
                raise Fault(f"{decoder.buffered_bytes} bytes are held; the limit is {most}")
    except ProtocolViolation:
        if not broken or bodies != expected[: len(bodies)]:
            raise Fault(f"a stream was refused that is right: {stream[:200].hex()}") from None
        return
    if broken or bodies != expected:
        raise Fault(f"a stream was taken that is wrong: {stream[:200].hex()}")


def _cut(stream: bytes, most: int) -> tuple[list[bytes], bool]:
    """The frames of a stream, and whether a length follows them that none may have."""
    bodies: list[bytes] = []
    while len(stream) >= HEADER_BYTES:
        length = int.from_bytes(stream[:HEADER_BYTES], "big")
        if not 0 < length <= most:
            return bodies, True
        if len(stream) < HEADER_BYTES + length:
            break
        bodies.append(stream[HEADER_BYTES : HEADER_BYTES + length])
        stream = stream[HEADER_BYTES + length :]
    return bodies, False


def bodies(data: bytes) -> None:
    """A job's body is taken or refused with a code, and what is taken can be decoded."""
    choices = Choices(data)
    most = choices.pick([0, 10, 300, 70_000])
    raw = body(choices)
    what = choices.below(4)
    if what == 0:
        raw = choices.rest()
    elif what == 1:
        raw = pack(damaged(choices, unpack(raw)))
    elif what == 2:
        raw = damaged_bytes(choices, raw)
    try:
        check_body(raw, most)
    except (BadRequest, PayloadTooLarge):
        return
    decoded = decode_body(raw)
    if not isinstance(decoded, Body) or len(decoded.payload) > most or not decoded.task:
        raise Fault(f"a body was taken that is none: {raw[:200].hex()}")
    encode_id(raw[:16].ljust(16, b"\0"))


def seeds() -> list[bytes]:
    """Inputs to begin with."""
    return [b"", b"\x05\0" + pack([1, "ping", []]), bytes(64), bytes(range(200)), b"\x09\x02" * 50]
