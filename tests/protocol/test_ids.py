"""Job ids: bytes on the wire, text for people, in the same order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure_protocol.ids import ID_BYTES, ID_CHARS, decode_id, encode_id

IDS = st.binary(min_size=ID_BYTES, max_size=ID_BYTES)
TEXT = "0123456789abcdefghjkmnpqrs"


@given(IDS)
def test_an_id_comes_back_from_its_text(raw: bytes) -> None:
    text = encode_id(raw)

    assert len(text) == ID_CHARS
    assert decode_id(text) == raw


@given(IDS, IDS)
def test_texts_sort_as_ids_do(one: bytes, other: bytes) -> None:
    assert (encode_id(one) < encode_id(other)) == (one < other)


@given(IDS)
def test_an_id_is_read_in_either_case(raw: bytes) -> None:
    assert decode_id(encode_id(raw).upper()) == raw


def test_the_first_and_the_last_id_have_the_texts_they_should() -> None:
    assert encode_id(b"\0" * 16) == "0" * 26
    assert encode_id(b"\xff" * 16) == "7" + "z" * 25
    assert encode_id(b"\0" * 15 + b"\x01") == "0" * 25 + "1"


def test_ids_of_many_places_in_line_keep_their_texts() -> None:
    # More prefixes than are remembered at a time.
    raws = [number.to_bytes(11, "big") + b"\0\0\0\0\5" for number in range(1_000)]

    texts = [encode_id(raw) for raw in raws]

    assert texts == sorted(texts)
    assert [decode_id(text) for text in texts] == raws
    assert [encode_id(raw) for raw in raws[:3]] == texts[:3]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "26 characters"),
        (TEXT[:-1], "26 characters"),
        (TEXT + "0", "26 characters"),
        ("x" * 10_000, "26 characters"),
        ("i" + TEXT[1:], "digits and letters"),
        (TEXT[:-1] + "l", "digits and letters"),
        (TEXT[:-1] + "o", "digits and letters"),
        (TEXT[:-1] + "u", "digits and letters"),
        (TEXT[:-1] + "-", "digits and letters"),
        (TEXT[:-1] + "_", "digits and letters"),
        (TEXT[:-1] + " ", "digits and letters"),
        (TEXT[:-1] + "\n", "digits and letters"),
        (TEXT[:-1] + "\u212a", "digits and letters"),
        (TEXT[:-1] + "\u0663", "digits and letters"),
        ("\u0130" + TEXT[1:], "digits and letters"),
        ("8" + "0" * 25, "larger than any id"),
        ("z" * 26, "larger than any id"),
    ],
)
def test_a_text_that_is_no_id_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        decode_id(text)

    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("length", [0, 8, 15, 17])
def test_bytes_of_another_length_have_no_text(length: int) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        encode_id(b"\0" * length)
