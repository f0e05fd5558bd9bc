"""The client's side: whatever a broker says, the client raises what it says it raises.

A hostile broker answers every kind of request with what fits, what nearly fits and what does
not; the client must take it, or give up the connection, within the memory it allows a frame.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from tenure.codecs import decode_result, decode_value
from tenure.core import admin, fleet, work
from tenure.core.bodies import Encoding, enqueue_items, enqueue_one
from tenure.core.call import Call
from tenure.core.command import Command, read_result
from tenure.core.session import FRAME_BYTES_ACCEPTED_MAX, Session
from tenure.errors import PayloadError
from tenure.info import JobInfo, JobPage
from tenure.jobs import LeasedJob
from tenure_protocol.errors import BrokerError, ProtocolViolation
from tenure_protocol.wire import pack
from tests.fuzz.choices import Choices
from tests.fuzz.requests import body
from tests.fuzz.values import damaged, damaged_bytes, odd
from tests.fuzz.world import Fault

ID = "0" * 26
GREETING: dict[str, Any] = {
    "protocol": 1, "server": "tenure 0.1.0", "session": bytes(8), "resumed": False, "now_ms": 1_750_000_000_000,
    "features": ["workers"], "idle_timeout_ms": 90_000, "limits": {"frame_bytes_max": 1 << 24, "wait_ms_max": 9},
}  # fmt: skip
JOB: dict[str, Any] = {
    "id": bytes(16), "queue": "q", "state": "dead", "body": pack(["t", b"\xc0", None, 1]), "priority": 1,
    "ready_at_ms": 1, "enqueued_at_ms": 1, "expires_at_ms": None, "origin": "o", "attempt": 1, "max_attempts": 5,
    "lease_ms": 9, "failures": 1, "timeouts": 0, "lost": 0, "released": 0, "unique": None, "worker": "w",
    "leased_until_ms": 5, "cancel_asked": False, "history": [[1, 2, 3, "w", "failed", "E", "m", "t"]],
    "result": b"\x01\xc0", "ended_at_ms": 5, "reason": "asked", "durability": "disk",
    "progress": [1, 2, "m", 3], "log": ["l"], "checkpoint": b"c",
}  # fmt: skip
QUEUE: dict[str, Any] = {
    "name": "q", "settings": {"paused": False, "durability": "disk"}, "created_at_ms": 1, "counts": {"ready": 1},
    "jobs": 1, "bytes": 9, "oldest_ready_age_ms": None, "waiting_reserves": 0, "rates": {"enqueued": 0.5},
    "backlog_seconds": None, "totals": {"enqueued": 1},
}  # fmt: skip
GROUP = {
    "task": "t", "error_type": "E", "reason": "asked", "count": 1, "first_at_ms": 1, "last_at_ms": 2,
    "example": bytes(16),
}  # fmt: skip
CHORE = {
    "chore": 1, "kind": "replay", "queue": "q", "done": 1, "skipped": 0, "limit": None, "rate": None,
    "state": "running", "started_at_ms": 1,
}  # fmt: skip
WORKER = {
    "worker": "abc123", "name": "w", "client": "c", "registered_at_ms": 1, "seen_at_ms": 2, "state": "busy",
    "host": "h", "pid": 1, "queues": ["q"], "pools": [{"name": "p"}], "jobs": [[bytes(16), 1, "t", "q", 1, "p"]],
    "children": [{"pid": 2}], "busy": 1, "slots": 2, "rss_bytes": 3, "done": 4, "failed": 5, "ready": True,
    "version": "1", "app": "a", "concurrency": 2, "started_at_ms": 7,
}  # fmt: skip


USED: dict[type, tuple[str, ...]] = {
    LeasedJob: ("id", "task", "headers", "payload", "leased_until", "enqueued_at", "lost", "checkpoint"),
    JobInfo: (
        "task", "headers", "payload", "result", "ended", "enqueued_at", "ready_at", "ended_at", "error_type",
        "error_message",
    ),
}  # fmt: skip
"""What a program looks at."""


def _wall_ms() -> int:
    return 1_750_000_000_000


def commands() -> list[tuple[Command[Any], Any]]:
    """Every kind of request with an answer as it should be."""
    plain = Encoding(1, None)
    row = [
        bytes(16),
        1,
        "q",
        30_000,
        1_750_000_000_000,
        JOB["body"],
        5,
        0,
        {"lost": 1, "checkpoint": b"c"},
    ]
    outcomes = [0, [0, {"state": "dead"}], [1, "LEASE_LOST", "gone", False, {}]]
    leases = [(ID, 1), (ID, 2), (ID, 3)]
    page = {"jobs": [JOB], "cursor": b"c"}
    error: dict[str, Any] = {"retry_in": None, "dead": False, "kind": "failed", "traceback": None}
    return [
        (enqueue_one("q", "t", 1, {}, plain), [[bytes(16)], None]),
        (enqueue_items("q", [b"\xc0", b"\xc0"]), [[bytes(16), bytes(16)], [0]]),
        (work.reserve("q", 3, 0, None, auto_ack=False, wall_ms=_wall_ms), [row, row[:8]]),
        (work.reserve_rows("q", 3, 0), [row]),
        (work.ack(leases, None, None, plain), outcomes),
        (work.fail(leases, "e", **error), outcomes),
        (work.release(leases, None, None), outcomes),
        (work.extend(leases, None, _wall_ms), outcomes),
        (work.settle_raw("ack", [[bytes(16), 1]]), [0]),
        (work.wait(ID, 5), JOB),
        (work.get(ID), JOB),
        (work.cancel([ID, ID, ID]), outcomes),
        (admin.peek("q", "dead", limit=5, cursor=None, bodies=True), page),
        (admin.create_queue("q", {}), QUEUE),
        (admin.queue("q"), QUEUE),
        (admin.purge_queue("q"), {"purged": 3}),
        (admin.delete_queue("q", force=True), {"deleted": True, "jobs": 0}),
        (admin.dead_jobs("q", {}, limit=5, cursor=None, bodies=True), page),
        (admin.dead_groups("q"), {"groups": [GROUP], "complete": True}),
        (admin.replay("q", [ID], {}, limit=None, rate=None), {"outcomes": [0]}),
        (admin.replay("q", None, {}, limit=None, rate=None), {"chore": 1}),
        (admin.purge_dead("q", None, {}), {"chore": 1}),
        (admin.chore(1), CHORE),
        (admin.chores(), {"chores": [CHORE]}),
        (admin.stats(), {"queues": 1}),
        (admin.drain(off=False), {"draining": True}),
        (admin.backup(None, 5), {"path": "p", "bytes": 1, "ms": 2}),
        (admin.goodbye(None), {"released": 1}),
        (fleet.register({"name": "w"}), {"worker": "abc"}),
        (fleet.beat({}), {}),
        (fleet.keep(None), {"released": 0}),
        (fleet.workers(), {"workers": [WORKER], "complete": True}),
        (fleet.worker("w"), WORKER),
        (fleet.tell("w", "quiet"), {"told": 1}),
        (fleet.stacks("w", 5), {"text": "t"}),
        (Command("queue.list", b"\x80", admin._read_queues), {"queues": [QUEUE], "cursor": None}),
    ]  # fmt: skip


COMMANDS = commands()


def replies(data: bytes) -> None:
    """A conversation with a broker that says anything."""
    choices = Choices(data)
    session = Session(name="c", timeout_ms=9_000, repeats=True, random_bytes=bytes)
    heard: list[Any] = []
    session.on_notice = lambda kind, details: heard.append((kind, details))
    now_ms = 0
    try:
        for _ in range(3):
            session.begin("here", now_ms, 1_000)
            session.take_out()
            try:
                now_ms = _converse(choices, session, now_ms)
            except (ProtocolViolation, BrokerError) as error:
                session.lost(error, now_ms)
            else:
                session.lost(ConnectionResetError("cut"), now_ms)
            _read_all(session)
            if choices.spent:
                break
    finally:
        session.fail_all(ConnectionResetError("the end"))
    if any(not call.done for call in session._pending.values()):
        raise Fault("a call was left without an end")
    for kind, details in heard:
        if type(kind) is not str or type(details) is not dict:
            raise Fault(f"a notice {kind!r} {details!r:.100}")


def _converse(choices: Choices, session: Session, now_ms: int) -> int:
    greeting = damaged(choices, GREETING) if choices.chance(20) else GREETING
    session.receive(_framed(choices, [1, 0, greeting]), now_ms)
    for _ in range(1 + choices.below(12)):
        asked: list[tuple[Call, Any]] = []
        for _ in range(1 + choices.below(4)):
            command, answer = choices.pick(COMMANDS)
            call = session.submit(command, now_ms)
            if choices.chance(10):
                session.abandon(call, now_ms)
            asked.append((call, answer))
        session.take_out()
        out = b"".join(_answer(choices, call, answer) for call, answer in asked)
        at = choices.below(len(out) + 1)
        for part in (out[:at], out[at:]):
            session.receive(part, now_ms)
            if session._decoder.buffered_bytes > FRAME_BYTES_ACCEPTED_MAX:
                raise Fault("more is held of a frame than may be")
        _read_all(session)
        now_ms += choices.pick([0, 1, 10_000, 40_000])
        session.tick(now_ms)
        if session.dead or choices.spent:
            break
    return now_ms


def _answer(choices: Choices, call: Call, answer: Any) -> bytes:
    what = choices.below(10)
    if what == 0:
        return _framed(choices, [0, 2, [choices.pick(["draining", "worker", "x"]), odd(choices)]])
    if what == 1:
        error = damaged(choices, ["LEASE_LOST", "gone", False, {"id": bytes(16)}])
        return _framed(choices, [choices.pick([call.id, 0]), 1, error])
    if what == 2:
        return _framed(choices, odd(choices))
    if what < 7:
        answer = damaged(choices, answer)
    reply = [call.id, 0, answer]
    return _framed(choices, damaged(choices, reply) if what == 3 else reply)


def _framed(choices: Choices, value: Any) -> bytes:
    raw = pack(value)
    if choices.chance(12):
        raw = damaged_bytes(choices, raw)
    frame = len(raw).to_bytes(4, "big") + raw
    return damaged_bytes(choices, frame) if choices.chance(5) else frame


def _read_all(session: Session) -> None:
    for call in session.take_done():
        if call.error is not None:
            if not isinstance(call.error, (BrokerError, OSError, Exception)):
                raise Fault(f"a call ended with {call.error!r}")
            continue
        try:
            result = read_result(call.command, call.result)
        except (ProtocolViolation, BrokerError):
            continue
        _use(result)


def _use(result: Any) -> None:
    """What a program does with a result: only the errors that are documented."""
    if isinstance(result, JobPage):
        result = result.jobs
    for each in result if isinstance(result, list) else [result]:
        if not isinstance(each, LeasedJob):
            repr(each)
        for name in USED.get(type(each), ()):
            # The fields of a delivery are looked at when a program does: checking them before
            # would cost every right broker's client more than reading them.
            with suppress(PayloadError, TypeError, ValueError, OverflowError, AttributeError):
                getattr(each, name)


def payloads(data: bytes) -> None:
    """A payload or result of any codec is decoded, or refused by name, within its bounds."""
    choices = Choices(data)
    codec = choices.pick([0, 1, 2, 3, 16, 17, 18, 128, 255])
    what = choices.below(5)
    if what == 0:
        raw = choices.rest()
    elif what == 1:
        raw = pack(odd(choices))
    elif what == 2:
        raw = choices.pick(
            [b"[" * 5_000, b"1" * 5_000, b"-", b'"\\ud800"', b"NaN", b"1e999", b'{"a":1,"a":2}']
        )
    elif what == 3:
        raw = compressed(choices)
    else:
        raw = damaged_bytes(choices, pack({"a": [1, b"x" * 20]}))
    if choices.chance(30):
        raw = damaged_bytes(choices, raw)
    for as_result in (False, True):
        try:
            decode_result(raw, ID) if as_result else decode_value(raw, codec, ID)
        except PayloadError as error:
            if error.job_id != ID or not error.codec:
                raise Fault(f"an error that does not say of which job: {error!r}") from error
    body(choices)


def compressed(choices: Choices) -> bytes:
    """Something compressed, also what becomes far larger than it may."""
    import zstandard

    plain = choices.pick([b"", pack(1), b"[1]", bytes(1 << 20)])
    sized = choices.chance(50)
    make: Any = zstandard.ZstdCompressor
    small: bytes = make(write_content_size=sized).compress(plain)
    return small


def seeds() -> list[bytes]:
    """Inputs to begin with."""
    return [b"", bytes(80), bytes(range(256)), b"\x03\x07\x01\x63" * 40]
