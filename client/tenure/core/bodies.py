"""Jobs into bytes: bodies, and the chunks that `enqueue_many` sends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tenure.codecs import codec_number, encode_value
from tenure.core.command import Command
from tenure.errors import BrokerError, PartlyEnqueued
from tenure.info import ServerInfo
from tenure.jobs import Enqueued, NewJob, enqueued
from tenure.options import encode_options
from tenure.packing import packer
from tenure_protocol.body import MSGPACK, RAW, HeaderValue
from tenure_protocol.ids import encode_id
from tenure_protocol.limits import FRAME_BYTES_MAX, JOBS_PER_REQUEST_MAX
from tenure_protocol.names import check_queue_name

CHUNK_BYTES_MAX = 1024 * 1024
"""A chunk of `enqueue_many` holds about so many bytes, or one job that is longer."""

CHUNKS_IN_FLIGHT_MAX = 8
"""How many chunks of one `enqueue_many` wait for their replies at a time."""

_ITEM_BYTES = 16
_ARRAY5 = b"\x95"
_NIL = b"\xc0"


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a client encodes what does not say otherwise: codec number, when to compress."""

    codec: int
    compress_over_bytes: int | None


def encode_body(
    task: str, value: object, headers: Mapping[str, HeaderValue] | None, encoding: Encoding
) -> bytes:
    """A job's body. Raises `TypeError` or `ValueError` that names the argument."""
    if type(task) is not str:
        raise TypeError(f"task must be a text, not {type(task).__name__}")
    if not task:
        raise ValueError("task must not be empty")
    payload, codec = encode_value(value, encoding.codec, encoding.compress_over_bytes, "payload")
    if headers is None:
        return packer()([task, payload, None, codec])
    if not isinstance(headers, Mapping):
        raise TypeError(f"headers must be a mapping, not {type(headers).__name__}")
    try:
        return packer()([task, payload, dict(headers) or None, codec])
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"headers: {error}") from None


def _codec_of(name: str | None, encoding: Encoding) -> Encoding:
    if name is None:
        return encoding
    return Encoding(codec_number(name), encoding.compress_over_bytes)


def enqueue_one(
    queue: str, task: str, payload: object, options: Mapping[str, Any], encoding: Encoding
) -> Command[Enqueued]:
    """Store one job. The result is its id."""
    item = enqueue_item(task, payload, options, encoding)
    args = _ARRAY5 + packer()(check_queue_name(queue)) + array_of([item])
    return Command("enqueue", args, _read_one, repeat=True, tail=_NIL)


def enqueue_item(
    task: str, payload: object, options: Mapping[str, Any], encoding: Encoding
) -> bytes:
    """A job as an item of an enqueue request, packed."""
    chosen = _codec_of(options.get("codec"), encoding)
    body = encode_body(task, payload, options.get("headers"), chosen)
    wire = encode_options(options)
    return packer()([body, wire] if wire else body)


def enqueue_items(queue: str, items: list[bytes]) -> Command[list[Enqueued]]:
    """Store packed jobs, all or none. The result is their ids, in order."""
    args = _ARRAY5 + packer()(check_queue_name(queue)) + array_of(items)

    def read(result: Any) -> list[Enqueued]:
        raws, existing = result[0], result[1] or ()
        if len(raws) != len(items):
            raise ValueError(f"the broker answered {len(items)} jobs with {len(raws)} ids")
        held = set(existing)
        return [enqueued(encode_id(raw), existing=i in held) for i, raw in enumerate(raws)]

    return Command("enqueue", args, read, repeat=True, tail=_NIL)


def array_of(items: list[bytes]) -> bytes:
    """Packed values as one packed array of fewer than 65,536."""
    count = len(items)
    head = bytes([0x90 | count]) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
    return head + b"".join(items)


def _read_one(result: Any) -> Enqueued:
    (raw,), existing = result[0], result[1]
    return enqueued(encode_id(raw), existing=bool(existing))


class Chunker:
    """Gathers jobs into enqueue requests bounded by count and by bytes."""

    __slots__ = (
        "_bytes",
        "_bytes_max",
        "_count",
        "_defaults",
        "_encoding",
        "_head",
        "_headers",
        "_items",
        "_jobs_max",
        "_pack",
        "_plain_bytes_max",
        "_taken",
    )

    def __init__(
        self,
        queue: str,
        defaults: Mapping[str, Any],
        encoding: Encoding,
        *,
        jobs_max: int,
        bytes_max: int = CHUNK_BYTES_MAX,
    ) -> None:
        if isinstance(jobs_max, bool) or not isinstance(jobs_max, int) or jobs_max < 1:
            raise ValueError(f"chunk_jobs must be 1 to {JOBS_PER_REQUEST_MAX}, not {jobs_max!r}")
        self._pack: Callable[[object], bytes] = packer()
        self._head = _ARRAY5 + self._pack(check_queue_name(queue))
        self._defaults = self._pack(encode_options(defaults) or None)
        self._headers: Mapping[str, HeaderValue] | None = defaults.get("headers")
        self._encoding = _codec_of(defaults.get("codec"), encoding)
        over = self._encoding.compress_over_bytes
        self._plain_bytes_max = FRAME_BYTES_MAX if over is None else over
        self._jobs_max = jobs_max
        self._bytes_max = bytes_max
        self._items: list[object] = []
        self._bytes = 0
        self._taken = 0

    def add(self, job: NewJob) -> tuple[Command[list[str]], int] | None:
        """Take a job. Returns a full chunk and the number of its jobs, when there is one.

        Raises `TypeError` or `ValueError`, naming the place of the job and the argument.
        """
        try:
            body = self._body(job)
            item: object = body
            if job.options:
                wire = encode_options(job.options)
                item = [body, wire] if wire else body
        except (TypeError, ValueError, AttributeError) as error:
            kind = ValueError if isinstance(error, ValueError) else TypeError
            what = str(error) if isinstance(job, NewJob) else f"a NewJob is needed, not {job!r:.80}"
            raise kind(f"jobs[{self._taken}]: {what}") from error
        self._taken += 1
        size = len(body) + _ITEM_BYTES
        full = None
        if self._items and self._bytes + size > self._bytes_max:
            full = self.rest()
        self._items.append(item)
        self._bytes += size
        if len(self._items) >= self._jobs_max and full is None:
            full = self.rest()
        return full

    def rest(self) -> tuple[Command[list[str]], int] | None:
        """The chunk of what was added since the last full one, if anything was."""
        items = self._items
        if not items:
            return None
        self._items = []
        self._bytes = 0
        count = len(items)

        def read(result: Any) -> list[str]:
            return _read_many(result, count)

        args = self._head + self._pack(items)
        return Command("enqueue", args, read, repeat=True, tail=self._defaults), count

    def _body(self, job: NewJob) -> bytes:
        # The common cases go round the general path: measured, half the time.
        task, payload, codec = job.task, job.payload, self._encoding.codec
        plain = job.codec is None and job.headers is None and self._headers is None
        if plain and type(task) is str and task:
            data: bytes | None = None
            if codec == RAW:
                data = payload if type(payload) is bytes else None
            elif codec == MSGPACK:
                try:
                    data = self._pack(payload)
                except (TypeError, ValueError, OverflowError, RecursionError):
                    data = None  # fails again below, with an error that names the argument
            if data is not None and len(data) <= self._plain_bytes_max:
                return self._pack([task, data, None, codec])
        headers = self._headers if job.headers is None else job.headers
        return encode_body(task, payload, headers, _codec_of(job.codec, self._encoding))


def _read_many(result: Any, count: int) -> list[str]:
    raws, existing = result[0], result[1]
    if len(raws) != count:
        raise ValueError(f"the broker answered {count} jobs with {len(raws)} ids")
    ids = [encode_id(raw) for raw in raws]
    for index in existing or ():
        ids[index] = enqueued(ids[index], existing=True)
    return ids


def chunks(chunker: Chunker, jobs: Iterable[NewJob]) -> Iterator[tuple[Command[list[str]], int]]:
    """The chunks of `jobs`, each as soon as it is full."""
    for job in jobs:
        full = chunker.add(job)
        if full is not None:
            yield full
    last = chunker.rest()
    if last is not None:
        yield last


class Gathered:
    """The ids of many chunks in the order of their jobs, and the first thing that went wrong."""

    __slots__ = ("_ids", "_unknown", "error")

    def __init__(self) -> None:
        self._ids: list[str | None] = []
        self._unknown: Exception | None = None
        self.error: Exception | None = None

    def reserve(self, count: int) -> int:
        """Keep the places of `count` jobs. Returns the first of them."""
        start = len(self._ids)
        self._ids += [None] * count
        return start

    def fill(self, start: int, ids: list[str]) -> None:
        """The ids of the jobs from `start` on."""
        self._ids[start : start + len(ids)] = ids

    def fail(self, error: Exception, start: int | None = None) -> None:
        """Something went wrong with the chunk at `start`, or (None) with a job before it left.

        The first such error counts.
        """
        if start is not None and self._unknown is None and not isinstance(error, BrokerError):
            self._unknown = error
        if self.error is None:
            self.error = error
            index = error.details.get("index") if isinstance(error, BrokerError) else None
            if isinstance(error, BrokerError) and isinstance(index, int):
                error.details["index"] = index + (start or 0)

    def result(self) -> list[str]:
        """All ids. Raises the error, as `PartlyEnqueued` when something was stored."""
        stored = [text for text in self._ids if text is not None]
        if self.error is None:
            return stored
        if not stored:
            # A refusal says that nothing was stored: not while a chunk's end is unknown.
            raise self._unknown or self.error
        raise PartlyEnqueued(
            f"{len(stored)} of {len(self._ids)} jobs were stored, then: {self.error}", self._ids
        ) from self.error


def chunker_for(
    queue: str,
    defaults: Mapping[str, Any],
    encoding: Encoding,
    chunk_jobs: int,
    server: ServerInfo,
) -> Chunker:
    """A chunker that keeps to the limits of `server`."""
    jobs_max = min(chunk_jobs, server.jobs_per_request_max)
    # Half a frame leaves room for the request around the jobs.
    bytes_max = min(CHUNK_BYTES_MAX, server.frame_bytes_max // 2)
    return Chunker(queue, defaults, encoding, jobs_max=jobs_max, bytes_max=bytes_max)
