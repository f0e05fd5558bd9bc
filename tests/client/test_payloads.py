"""Payloads, results and jobs: into bytes and back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgpack
import pytest
import zstandard

from tenure import Enqueued, LeasedJob, NewJob, PayloadError
from tenure.codecs import (
    DECODED_BYTES_MAX,
    NUMBERS,
    decode_result,
    decode_value,
    encode_result,
    encode_value,
)
from tenure.core.bodies import Chunker, Encoding, Gathered, chunks, encode_body
from tenure.jobs import enqueued, parse_body
from tenure_protocol.body import JSON, MSGPACK, RAW, ZSTD, decode_body
from tenure_protocol.errors import QueueFull
from tenure_protocol.ids import encode_id
from tenure_protocol.wire import pack

PLAIN = Encoding(MSGPACK, None)


@pytest.mark.parametrize(
    ("codec", "value"),
    [
        ("msgpack", {"a": [1, 2.5, None, True, b"x", "ü"], 3: "int keys"}),
        ("msgpack", None),
        ("json", {"a": [1, 2.5, None, True, "ü"]}),
        ("raw", b"\x00\xff"),
    ],
)
@pytest.mark.parametrize("compress_over_bytes", [None, 0])
def test_a_value_comes_back_as_it_was(
    codec: str, value: object, compress_over_bytes: int | None
) -> None:
    data, number = encode_value(value, NUMBERS[codec], compress_over_bytes, "payload")

    assert decode_value(data, number, "id") == value


def test_a_long_payload_is_compressed_and_a_short_one_is_not() -> None:
    long, long_codec = encode_value(b"a" * 101, RAW, 100, "payload")
    short, short_codec = encode_value(b"a" * 100, RAW, 100, "payload")

    assert long_codec == RAW | ZSTD
    assert len(long) < 101
    assert (short, short_codec) == (b"a" * 100, RAW)


def test_what_does_not_get_shorter_is_not_compressed() -> None:
    noise = bytes((n * n * 7919 + n) % 251 for n in range(20))

    assert encode_value(noise, RAW, 0, "payload") == (noise, RAW)


@pytest.mark.parametrize("with_size", [True, False])
def test_a_payload_that_would_become_huge_is_refused(with_size: bool) -> None:
    compressor = zstandard.ZstdCompressor(write_content_size=with_size)
    bomb = compressor.compress(bytes(DECODED_BYTES_MAX + 1))
    assert len(bomb) < 10_000

    with pytest.raises(PayloadError, match="raw\\+zstd"):
        decode_value(bomb, RAW | ZSTD, "id")


@pytest.mark.parametrize(
    ("codec", "value", "error"),
    [
        (MSGPACK, datetime(2030, 1, 1), TypeError),
        (MSGPACK, {1, 2}, TypeError),
        (MSGPACK, 2**70, ValueError),
        (JSON, b"bytes", TypeError),
        (JSON, float("nan"), ValueError),
        (RAW, "text", TypeError),
        (RAW, {"a": 1}, TypeError),
    ],
)
def test_a_value_that_the_codec_cannot_carry_is_refused_by_the_name_of_its_argument(
    codec: int, value: object, error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"^payload: "):
        encode_value(value, codec, None, "payload")


@pytest.mark.parametrize(
    ("data", "codec", "named"),
    [
        (b"\xc1", MSGPACK, "msgpack"),
        (b"\x81\x90\x01", MSGPACK, "msgpack"),
        (b"{", JSON, "json"),
        (b"\xff", JSON, "json"),
        (b"not zstd", MSGPACK | ZSTD, r"msgpack\+zstd"),
        (b"", 9, "number 9"),
        (b"\x91" * 3000, MSGPACK, "msgpack"),
    ],
)
def test_a_payload_that_cannot_be_decoded_names_its_codec_and_its_job(
    data: bytes, codec: int, named: str
) -> None:
    with pytest.raises(PayloadError, match=f"job j7: .*{named}") as caught:
        decode_value(data, codec, "j7")

    assert caught.value.job_id == "j7"


def test_a_result_travels_with_its_codec_and_none_is_no_result() -> None:
    data = encode_result({"pages": 3}, JSON, None)

    assert data == b'\x02{"pages":3}'
    assert decode_result(data, "id") == {"pages": 3}
    assert encode_result(None, MSGPACK, None) is None
    assert decode_result(None, "id") is None
    with pytest.raises(PayloadError):
        decode_result(b"", "id")


def test_a_leased_job_is_decoded_when_it_is_looked_at() -> None:
    body = encode_body("resize", {"w": 3}, {"trace": "t1"}, PLAIN)
    raw = bytes(range(16))
    job = LeasedJob([raw, 4, "images", 30_000, 1_700_000_000_000, body, 5, 1], 1_700_000_100_000)

    assert (job.id, job.id_bytes) == (encode_id(raw), raw)
    assert (job.attempt, job.queue, job.max_attempts, job.used) == (4, "images", 5, 1)
    assert (job.task, job.payload, job.headers) == ("resize", {"w": 3}, {"trace": "t1"})
    assert job.payload is job.payload
    assert job.enqueued_at.timestamp() == 1_700_000_000
    assert job.leased_until.timestamp() == 1_700_000_130

    job.extended(1_700_000_120_000, 60_000)
    assert job.leased_until.timestamp() == 1_700_000_180
    assert job.lease_ms == 60_000


def test_a_leased_job_with_a_broken_body_can_still_be_named() -> None:
    job = LeasedJob([bytes(16), 1, "images", 1, 0, b"\xc1", 5, 0], 0)

    assert job.id == "0" * 26
    with pytest.raises(PayloadError, match=job.id):
        _ = job.payload
    with pytest.raises(PayloadError, match=job.id):
        _ = job.task


@pytest.mark.parametrize(
    "parts",
    [
        [],
        ["t", b"", None],
        [1, b"", None, 0],
        ["t", "", None, 0],
        ["t", b"", [], 0],
        ["t", b"", None, "x"],
    ],
)
def test_a_body_of_another_shape_is_told_as_such(parts: list[object]) -> None:
    with pytest.raises(PayloadError, match="job j7: its body"):
        parse_body(pack(parts), "j7")


def test_an_enqueued_id_is_a_text_that_knows_whether_the_job_existed() -> None:
    new, old = enqueued("a", existing=False), enqueued("a", existing=True)

    assert new == old == "a"
    assert isinstance(old, Enqueued)
    assert (new.existing, old.existing) == (False, True)


def unpacked(head: object) -> list[Any]:
    """The queue and the jobs at the beginning of an enqueue's arguments."""
    assert isinstance(head, bytes)
    unpacker = msgpack.Unpacker()
    unpacker.feed(head[1:])
    return list(unpacker)


def test_jobs_become_chunks_bounded_by_their_number() -> None:
    chunker = Chunker("mail", {"priority": 5}, PLAIN, jobs_max=2)
    made = list(chunks(chunker, (NewJob("t", number) for number in range(5))))

    assert [count for _, count in made] == [2, 2, 1]
    assert [command.tail for command, _ in made] == [msgpack.packb({"priority": 5})] * 3
    queue, jobs = unpacked(made[0][0].args)
    assert queue == "mail"
    assert [decode_body(body).payload for body in jobs] == [b"\x00", b"\x01"]


def test_jobs_become_chunks_bounded_by_their_bytes() -> None:
    chunker = Chunker("mail", {}, Encoding(RAW, None), jobs_max=100, bytes_max=1000)
    sizes = [400, 400, 400, 5000, 10]
    made = list(chunks(chunker, (NewJob("t", bytes(size)) for size in sizes)))

    assert [count for _, count in made] == [2, 1, 1, 1]


def test_a_chunk_of_one_job_each_is_sent_job_by_job() -> None:
    chunker = Chunker("mail", {}, PLAIN, jobs_max=1)

    assert [count for _, count in chunks(chunker, [NewJob("t"), NewJob("t")])] == [1, 1]


def test_jobs_of_a_chunk_keep_their_own_options_headers_and_codec() -> None:
    chunker = Chunker("mail", {"headers": {"all": 1}, "codec": "json"}, PLAIN, jobs_max=9)
    jobs = [NewJob("t", 1), NewJob("t", b"2", unique="u", headers={"own": 2}, codec="raw")]
    ((command, _),) = chunks(chunker, jobs)
    _, (plain, (body, options)) = unpacked(command.args)

    assert parse_body(plain, "id") == ("t", b"1", {"all": 1}, JSON)
    assert parse_body(body, "id") == ("t", b"2", {"own": 2}, RAW)
    assert options == {"unique": "u"}


@pytest.mark.parametrize(
    ("job", "error", "text"),
    [
        (NewJob("t", {1, 2}), TypeError, r"jobs\[1\]: payload: "),
        (NewJob("", 1), ValueError, r"jobs\[1\]: task"),
        (NewJob(7, 1), TypeError, r"jobs\[1\]: task"),  # type: ignore[arg-type]
        (NewJob("t", headers={"a": object()}), TypeError, r"jobs\[1\]: headers"),  # type: ignore[dict-item]
        (NewJob("t", delay="soon"), ValueError, r"jobs\[1\]: delay"),
        (("t", 1), TypeError, r"jobs\[1\]: a NewJob is needed"),
    ],
)
def test_a_bad_job_is_named_by_its_place_and_argument(
    job: Any, error: type[Exception], text: str
) -> None:
    chunker = Chunker("mail", {}, PLAIN, jobs_max=9)

    with pytest.raises(error, match=text):
        list(chunks(chunker, [NewJob("t"), job]))


def test_a_failure_of_a_later_chunk_keeps_the_ids_of_the_others_and_names_the_job() -> None:
    from tenure import PartlyEnqueued

    gathered = Gathered()
    first, second, third = gathered.reserve(2), gathered.reserve(2), gathered.reserve(1)
    gathered.fill(third, ["e"])
    gathered.fail(QueueFull("full", details={"index": 1}), second)
    gathered.fill(first, ["a", "b"])

    with pytest.raises(PartlyEnqueued, match="3 of 5") as caught:
        gathered.result()
    assert caught.value.ids == ["a", "b", None, None, "e"]
    assert isinstance(caught.value.__cause__, QueueFull)
    assert caught.value.__cause__.details["index"] == 3


def test_a_failure_before_anything_was_stored_is_raised_as_it_is() -> None:
    gathered = Gathered()
    gathered.fail(QueueFull("full"), gathered.reserve(2))

    with pytest.raises(QueueFull):
        gathered.result()
