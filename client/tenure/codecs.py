"""Payloads and results: values as bytes, and back. Never pickle.

A codec is a number on the wire (`tenure_protocol.body`) and a name here. A result travels
as one byte with that number and the encoded value after it: an ack has no other place for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

import msgpack

from tenure.errors import PayloadError
from tenure.packing import packer
from tenure_protocol.body import JSON, MSGPACK, RAW, ZSTD

CodecName = Literal["msgpack", "json", "raw"]
"""How values become bytes."""

NUMBERS: dict[str, int] = {"raw": RAW, "msgpack": MSGPACK, "json": JSON}
"""The codec names, and the numbers they have on the wire."""

_NAMES = {number: name for name, number in NUMBERS.items()}

COMPRESS_OVER_BYTES = 64 * 1024
"""Payloads longer than this are compressed when `zstandard` is installed."""

DECODED_BYTES_MAX = 64 * 1024 * 1024
"""The most bytes a compressed payload may become: a few bytes can claim to be gigabytes."""

_LEVEL = 3


def codec_number(name: str) -> int:
    """The number of a codec. Raises `ValueError` that names the allowed ones."""
    number = NUMBERS.get(name)
    if number is None:
        raise ValueError(f"codec must be one of {', '.join(NUMBERS)}, not {name!r}")
    return number


def encode_value(
    value: object, codec: int, compress_over_bytes: int | None, argument: str
) -> tuple[bytes, int]:
    """`value` as bytes, and the codec number that says how.

    Raises `TypeError` or `ValueError`, naming `argument`, for what the codec cannot carry.
    """
    if codec == MSGPACK:
        data = _msgpack(value, argument)
    elif codec == RAW:
        data = _raw(value, argument)
    else:
        data = _json(value, argument)
    if compress_over_bytes is not None and len(data) > compress_over_bytes:
        return _compressed(data, codec)
    return data, codec


def _msgpack(value: object, argument: str) -> bytes:
    try:
        return packer()(value)
    except TypeError as error:
        raise TypeError(f"{argument}: msgpack {_reason(error)}") from None
    except (ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{argument}: msgpack cannot carry it: {error}") from None


def _reason(error: TypeError) -> str:
    # msgpack says "can not serialize 'datetime.datetime' object".
    return f"{error}; give plain values (numbers, text, bytes, lists, dicts)"


def _raw(value: object, argument: str) -> bytes:
    if type(value) is bytes:
        return value
    if value is None:
        return b""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise TypeError(f"{argument}: the raw codec carries bytes, not {type(value).__name__}")


def _json(value: object, argument: str) -> bytes:
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode()
    except TypeError as error:
        raise TypeError(f"{argument}: json cannot carry it: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{argument}: json cannot carry it: {error}") from None


def _compressed(data: bytes, codec: int) -> tuple[bytes, int]:
    zstd = _zstandard()
    if zstd is None:
        return data, codec
    smaller: bytes = zstd.ZstdCompressor(level=_LEVEL).compress(data)
    return (smaller, codec | ZSTD) if len(smaller) < len(data) else (data, codec)


def decode_value(data: bytes, codec: int, job_id: str) -> Any:
    """The value that `data` holds. Raises `PayloadError`, naming the codec and the job."""
    plain = codec & ~ZSTD
    decode = _DECODERS.get(plain)
    name = _NAMES.get(plain, f"number {plain}") + ("+zstd" if codec & ZSTD else "")
    if decode is None:
        raise PayloadError(
            f"job {job_id}: this version knows no codec {name}", codec=name, job_id=job_id
        )
    try:
        return decode(_decompressed(data) if codec & ZSTD else data)
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise PayloadError(
            f"job {job_id}: not {name}: {str(error) or type(error).__name__}",
            codec=name,
            job_id=job_id,
        ) from error


def _decompressed(data: bytes) -> bytes:
    zstd = _zstandard()
    if zstd is None:
        raise ValueError("it is compressed; install tenure[zstd] to read it")
    try:
        size = int(zstd.frame_content_size(data))
        if size > DECODED_BYTES_MAX:
            raise ValueError(f"it claims to hold {size} bytes; the limit is {DECODED_BYTES_MAX}")
        # Without a size in its header the limit below holds; with one the header decides.
        decompressor = zstd.ZstdDecompressor(max_window_size=DECODED_BYTES_MAX)
        plain: bytes = decompressor.decompress(data, max_output_size=DECODED_BYTES_MAX)
    except zstd.ZstdError as error:
        raise ValueError(str(error)) from error
    return plain


def _zstandard() -> Any:
    # Imported at the first long payload: it is optional, and most programs never need it.
    try:
        import zstandard
    except ImportError:
        return None
    return zstandard


def encode_result(value: object, codec: int, compress_over_bytes: int | None) -> bytes | None:
    """A result as it travels in an ack: one byte for the codec, then the value. None is none."""
    if value is None:
        return None
    data, number = encode_value(value, codec, compress_over_bytes, "result")
    return bytes((number,)) + data


def decode_result(data: bytes | None, job_id: str) -> Any:
    """The value of a result. Raises `PayloadError`."""
    if data is None:
        return None
    if not data:
        raise PayloadError(f"job {job_id}: an empty result", codec="none", job_id=job_id)
    return decode_value(data[1:], data[0], job_id)


def _from_msgpack(data: bytes) -> Any:
    return msgpack.unpackb(data, raw=False, strict_map_key=False)


_DECODERS: dict[int, Callable[[bytes], Any]] = {
    RAW: bytes,
    MSGPACK: _from_msgpack,
    JSON: json.loads,
}
