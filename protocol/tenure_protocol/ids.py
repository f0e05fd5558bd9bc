"""Job ids: 16 bytes on the wire and in the store, 26 characters for people.

    line u32 | priority u8 | ready_at u48 (ms) | seq u40

An id is the key under which the job was born, written in lower-case Crockford base32
(no i, l, o, u), so it sorts as the bytes do. The last 40 bits are exactly the last eight
characters: in a batch only they differ, and the text of the first eleven bytes is kept.
"""

from __future__ import annotations

ID_BYTES = 16
"""The length of an id on the wire."""

ID_CHARS = 26
"""The length of an id as text."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_TO_INT32 = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")
_PREFIX_BYTES = 11
_PREFIXES_KEPT_MAX = 256
_prefix_texts: dict[bytes, str] = {}


def _prefix_text(prefix: bytes) -> str:
    text = _prefix_texts.get(prefix)
    if text is None:
        number = int.from_bytes(prefix, "big")
        text = "".join(_PAIRS[(number >> shift) & 1023] for shift in range(80, -1, -10))
        if len(_prefix_texts) >= _PREFIXES_KEPT_MAX:
            _prefix_texts.clear()
        _prefix_texts[prefix] = text
    return text


def encode_id(raw: bytes) -> str:
    """The text of an id of 16 bytes. Raises `ValueError` for another length."""
    if len(raw) != ID_BYTES:
        raise ValueError(f"a job id has {ID_BYTES} bytes, not {len(raw)}")
    seq = int.from_bytes(raw[_PREFIX_BYTES:], "big")
    return (
        _prefix_text(raw[:_PREFIX_BYTES])
        + _PAIRS[seq >> 30]
        + _PAIRS[(seq >> 20) & 1023]
        + _PAIRS[(seq >> 10) & 1023]
        + _PAIRS[seq & 1023]
    )


def decode_id(text: str) -> bytes:
    """The 16 bytes of an id as text, upper or lower case.

    Raises `ValueError` with a sentence for a person when `text` is not an id.
    """
    if len(text) != ID_CHARS:
        raise ValueError(f"a job id has {ID_CHARS} characters, {text[:40]!r} has {len(text)}")
    lowered = text.lower()
    # ASCII first: the Kelvin sign, for one, becomes a "k" in lower case.
    if not text.isascii() or not set(lowered) <= set(_ALPHABET):
        raise ValueError(
            f"{text!r} is not a job id: it is written in the digits and letters of {_ALPHABET}"
        )
    number = int(lowered.translate(_TO_INT32), 32)
    if number >> 128:
        raise ValueError(f"{text!r} is not a job id: it is larger than any id")
    return number.to_bytes(ID_BYTES, "big")
