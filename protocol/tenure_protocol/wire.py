"""msgpack with the protocol's rules: no extension types, no bombs, one value and no rest.

A few bytes of msgpack can ask for much memory: the C decoder makes room for an array as
soon as it reads its length, a thousand levels deep, and a frame of empty arrays becomes
eighty times its size. And it interns every key of a map, which takes long if they all differ.
So a frame is decoded by how much harm it can do:

- short, with few bytes that could open an array or map: at once, it cannot do any;
- up to `_HARMLESS_BYTES_MAX`: once without building anything, to know that it is whole (then
  no array is longer than the bytes after its length): it has too few bytes for too many values;
- up to `_COUNTED_BYTES_MAX`: the same, and then counting what is built;
- longer: its structure is walked first (`structure.check_structure`), in Python, which costs
  little beside the jobs that such a frame carries.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import msgpack

from tenure_protocol.errors import ProtocolViolation
from tenure_protocol.limits import FRAME_KEYS_MAX, FRAME_VALUES_MAX, NESTING_MAX
from tenure_protocol.structure import CONTAINER_VALUES, check_structure, too_much

pack: Callable[[object], bytes] = msgpack.Packer(use_bin_type=True, autoreset=True).pack
"""One value as msgpack bytes. Not thread-safe: threads that pack make a packer each."""

_SHORT_BYTES_MAX = 1024
_HARMLESS_BYTES_MAX = FRAME_VALUES_MAX // (CONTAINER_VALUES + 1)
_COUNTED_BYTES_MAX = 2 * 1024 * 1024

_CONTAINERS = {list, dict}
_OPENERS = frozenset([*range(0x80, 0xA0), *range(0xDC, 0xE0)])
_NO_OPENERS = bytes(byte for byte in range(256) if byte not in _OPENERS)


def new_packer() -> Callable[[object], bytes]:
    """A `pack` of one's own, for a thread."""
    packer: Callable[[object], bytes] = msgpack.Packer(use_bin_type=True, autoreset=True).pack
    return packer


def unpack(data: bytes) -> Any:
    """The one msgpack value that `data` holds. May be called from several threads.

    Raises `ProtocolViolation` for anything else: cut, followed by more bytes, too deep,
    with extension types, with map keys that are not text, with text that is not UTF-8, or
    with too many values or keys.
    """
    size = len(data)
    try:
        if size <= _SHORT_BYTES_MAX and len(data.translate(None, _NO_OPENERS)) <= NESTING_MAX:
            return _decode(data, None, _check_keys)
        if size > _COUNTED_BYTES_MAX:
            check_structure(data)
            return _decode(data, None, _check_keys)
        _check_whole(data)
        return _decode_few(data) if size <= _HARMLESS_BYTES_MAX else _decode_counted(data)
    except RecursionError as error:
        raise ProtocolViolation("nested too deep") from error
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        # ExtraData, FormatError, StackError, UnicodeDecodeError and friends are ValueErrors.
        reason = str(error) or type(error).__name__
        raise ProtocolViolation(f"not one msgpack value: {reason}") from error


def _decode(
    data: bytes,
    list_hook: Callable[[list[Any]], Any] | None,
    object_hook: Callable[[dict[Any, Any]], Any],
) -> Any:
    return msgpack.unpackb(
        data,
        raw=False,
        strict_map_key=True,
        max_ext_len=0,
        # Looked at before a map is built; all maps of a frame together are counted elsewhere.
        max_map_len=FRAME_KEYS_MAX,
        ext_hook=_refuse_extension,
        list_hook=list_hook,
        object_hook=object_hook,
    )


def _check_whole(data: bytes) -> None:
    reader = msgpack.Unpacker(read_size=len(data))
    reader.feed(data)
    reader.skip()


def _decode_few(data: bytes) -> Any:
    value = _decode(data, None, _check_keys)
    if type(value) in _CONTAINERS and _is_deeper(value, NESTING_MAX):
        raise ProtocolViolation(too_much(0, 0))
    return value


def _decode_counted(data: bytes) -> Any:
    room, keys_room, containers = FRAME_VALUES_MAX, FRAME_KEYS_MAX, 0

    def count_list(value: list[Any]) -> list[Any]:
        nonlocal room, containers
        containers += 1
        room -= CONTAINER_VALUES + len(value)
        if room < 0:
            raise ProtocolViolation(too_much(room, keys_room))
        return value

    def count_map(value: dict[Any, Any]) -> dict[Any, Any]:
        nonlocal room, keys_room, containers
        containers += 1
        room -= CONTAINER_VALUES + 2 * len(value)
        keys_room -= len(value)
        if room < 0 or keys_room < 0:
            raise ProtocolViolation(too_much(room, keys_room))
        return _check_keys(value)

    value = _decode(data, count_list, count_map)
    if containers > NESTING_MAX and _is_deeper(value, NESTING_MAX):
        raise ProtocolViolation(too_much(room, keys_room))
    return value


def _check_keys(value: dict[Any, Any]) -> dict[Any, Any]:
    for key in value:
        if type(key) is not str:
            raise ProtocolViolation(f"map keys must be text, not {type(key).__name__}")
    return value


def _refuse_extension(code: int, data: bytes) -> object:
    raise ProtocolViolation(f"extension type {code} is not part of the protocol")


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether arrays and maps in `value`, itself one of them, are nested deeper than `levels`."""
    level = [value]
    for _ in range(levels):
        parts = [part.values() if type(part) is dict else part for part in level]
        # Types first, in C: the last level, which has the most values, needs no list of its own.
        kinds = set(map(type, chain.from_iterable(parts)))
        if kinds.isdisjoint(_CONTAINERS):
            return False
        level = list(chain.from_iterable(parts))
        if not kinds <= _CONTAINERS:
            level = [part for part in level if type(part) is list or type(part) is dict]
    return True
