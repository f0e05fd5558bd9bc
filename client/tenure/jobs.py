"""Jobs on their way in and out: `NewJob`, `Enqueued`, `LeasedJob`, `Outcome`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Unpack

import msgpack

from tenure.codecs import decode_value
from tenure.errors import BrokerError, PayloadError
from tenure.options import JobOptions, datetime_of
from tenure_protocol.body import Body, HeaderValue
from tenure_protocol.ids import encode_id

_EXTRA = 8
"""Where in a row stands what only some deliveries have."""


class NewJob:
    """A job to be enqueued: a task, a payload, and options as `enqueue` takes them.

    A plain class: a frozen dataclass of these fields takes five times as long to make, and
    programs make millions of these. Options are checked when the job is enqueued.
    """

    __slots__ = ("codec", "headers", "options", "payload", "task")

    def __init__(self, task: str, payload: Any = None, **options: Unpack[JobOptions]) -> None:
        self.task = task
        self.payload = payload
        self.options = options
        if options:
            self.headers = options.pop("headers", None)
            self.codec = options.pop("codec", None)
        else:
            self.headers = None
            self.codec = None

    def __repr__(self) -> str:
        return f"NewJob({self.task!r}, options={self.options!r})"


class Enqueued(str):
    """The id of an enqueued job: a text, and `existing`.

    A text, so that it can be stored, printed and handed on like any id; `existing` is True
    when an unfinished job held the unique name already and the id is that job's.
    """

    __slots__ = ()
    existing: bool = False


class _Existing(Enqueued):
    __slots__ = ()
    existing = True


def enqueued(text: str, *, existing: bool) -> Enqueued:
    """An id as `enqueue` returns it."""
    return _Existing(text) if existing else Enqueued(text)


class LeasedJob:
    """A job that this client holds, until it acks, fails or releases it or the lease ends.

    (`id`, `attempt`) is the proof of the lease: after it was lost, everything done with this
    object is refused with `LeaseLost` and changes nothing. The payload is decoded at its
    first use.
    """

    __slots__ = ("_body", "_id", "_leased_at_ms", "_payload", "_row", "lease_ms")

    lease_ms: int

    def __init__(self, row: list[Any], leased_at_ms: int) -> None:
        self._row = row
        self._leased_at_ms = leased_at_ms
        self.lease_ms = row[3]

    @property
    def id_bytes(self) -> bytes:
        """The id as it travels."""
        raw: bytes = self._row[0]
        return raw

    @property
    def id(self) -> str:
        """The job's id."""
        try:
            return self._id
        except AttributeError:
            self._id: str = encode_id(self._row[0])
            return self._id

    @property
    def attempt(self) -> int:
        """The number of this delivery: 1, 2, … It rises with every one, also after a release."""
        attempt: int = self._row[1]
        return attempt

    @property
    def queue(self) -> str:
        """The queue it came from."""
        queue: str = self._row[2]
        return queue

    @property
    def enqueued_at(self) -> datetime:
        """When the broker took the job, by the broker's clock."""
        return datetime_of(self._row[4])

    @property
    def max_attempts(self) -> int:
        """How many attempts may be used up."""
        most: int = self._row[6]
        return most

    @property
    def used(self) -> int:
        """How many attempts are used up: failures, timeouts and lost leases before this one."""
        used: int = self._row[7]
        return used

    @property
    def lost(self) -> int:
        """How many of the attempts used up ended with a lost lease or a dead process."""
        lost: int = self._extra.get("lost") or 0
        return lost

    @property
    def checkpoint(self) -> bytes | None:
        """What an earlier attempt, or this one before it came, last saved with `note`."""
        saved: bytes | None = self._extra.get("checkpoint")
        return saved

    @property
    def _extra(self) -> Mapping[str, Any]:
        return self._row[_EXTRA] or {} if len(self._row) > _EXTRA else {}

    @property
    def leased_until(self) -> datetime:
        """When the lease ends, by this machine's clock; `extend` moves it."""
        return datetime_of(self._leased_at_ms + self.lease_ms)

    @property
    def body(self) -> Body:
        """Task, payload, headers and codec as they travelled. Raises `PayloadError`."""
        try:
            return self._body
        except AttributeError:
            self._body: Body = parse_body(self._row[5], self.id)
            return self._body

    @property
    def task(self) -> str:
        """The task's name. Raises `PayloadError` if the body is not one."""
        return self.body.task

    @property
    def headers(self) -> Mapping[str, HeaderValue]:
        """The headers, empty if there are none. Raises `PayloadError` if the body is not one."""
        return self.body.headers or {}

    @property
    def payload(self) -> Any:
        """The payload, decoded. Raises `PayloadError`, naming the codec and the job."""
        try:
            return self._payload
        except AttributeError:
            body = self.body
            self._payload: Any = decode_value(body.payload, body.codec, self.id)
            return self._payload

    def extended(self, now_ms: int, lease_ms: int | None) -> None:
        """Note that the lease begins anew. The clients call this after an `extend`."""
        self._leased_at_ms = now_ms
        if lease_ms is not None:
            self.lease_ms = lease_ms

    def __repr__(self) -> str:
        return f"LeasedJob({self.id}, attempt={self.attempt}, queue={self.queue!r})"


Lease = LeasedJob | tuple[str, int]
"""A leased job, or its id and attempt."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one of many: `ok`, with `info` from the broker, or the `error`."""

    ok: bool
    info: Mapping[str, Any] = field(default_factory=dict)
    error: BrokerError | None = None


def parse_body(data: bytes, job_id: str) -> Body:
    """The parts of a body, as far as their types. Raises `PayloadError`, naming the job.

    The broker checked the limits when the job came in; they are not checked again here.
    """
    try:
        task, payload, headers, codec = msgpack.unpackb(data)
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise _no_body(job_id) from error
    if (
        type(task) is not str
        or type(payload) is not bytes
        or type(codec) is not int
        or (headers is not None and type(headers) is not dict)
    ):
        raise _no_body(job_id)
    return Body(task, payload, headers, codec)


def _no_body(job_id: str) -> PayloadError:
    what = "not [task, payload, headers, codec] in msgpack"
    return PayloadError(f"job {job_id}: its body is {what}", codec="none", job_id=job_id)
