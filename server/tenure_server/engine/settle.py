"""Settling a lease: fail, release, extend; and the lease that runs out.

(job id, attempt) is the fencing token: whoever does not hold the current one is refused
with LEASE_LOST and changes nothing. Only a failure, a timeout, a crash or a lost lease uses
up an attempt; a crash is a lost lease that was told of.
"""

from __future__ import annotations

from collections.abc import Callable

from tenure_protocol import limits
from tenure_protocol.errors import BadRequest, BrokerError, LeaseLost
from tenure_protocol.retry import DELAY_MS_MAX, delay_ms, policy_from_wire
from tenure_server.engine.core import Core
from tenure_server.engine.ending import bury, finish, may_expire
from tenure_server.engine.fields import args_list, args_map, flag, item, items, text, whole
from tenure_server.engine.finding import Live, known, read_job, state_of
from tenure_server.engine.jobs import (
    end_lease,
    move,
    put_back,
    with_attempt,
)
from tenure_server.engine.lease_rows import save_lease
from tenure_server.engine.leases import Lease
from tenure_server.engine.types import Session
from tenure_storage.keys import priority_of
from tenure_storage.layout import CANCEL_ASKED, StateRow, extras_of, unpack_record

REPEATED: list[object] = [0, {"repeated": True}]
"""The outcome of a request that was carried out before."""

UNREMEMBERED = frozenset({"extend", "note"})
"""Operations of which a lease that was settled is no proof that they had been done before."""

KINDS = ("failed", "timeout", "crashed")
"""How an attempt can fail."""

ItemOp = Callable[[Core, Lease, list[object]], object]


def each(core: Core, op: str, raw: object, one: ItemOp) -> list[object]:
    """Runs `one` for every item; an item's refusal concerns that item alone."""
    args = args_list(op, raw)
    outcomes: list[object] = []
    instant = True
    for entry in items(item(args, 0), "items", core.limits.jobs_per_request_max):
        try:
            if type(entry) is not list or len(entry) < 2:
                raise BadRequest(f"an item of {op} must be [id, attempt, ...]")
            job_id, attempt = entry[0], entry[1]
            if type(job_id) is not bytes or len(job_id) != 16 or type(attempt) is not int:
                raise BadRequest("a lease is named by a job id of 16 bytes and an attempt")
            space = core.space_of(job_id)
            instant = instant and space.volatile
            lease = space.leases.by_id.get(job_id)
            if lease is not None and lease.attempt == attempt:
                outcomes.append(one(core, lease, entry))
            elif op not in UNREMEMBERED and core.was_settled(job_id, attempt):
                outcomes.append(REPEATED)
            else:
                raise _lost(lease, job_id, attempt)
        except BrokerError as error:
            outcomes.append([1, *error.to_wire()])
    core.instant = instant
    return outcomes


def _lost(lease: Lease | None, job_id: bytes, attempt: int) -> LeaseLost:
    if lease is None:
        text_ = f"attempt {attempt} does not hold this job: the lease ran out, or the job ended"
    else:
        text_ = f"attempt {attempt} does not hold this job: attempt {lease.attempt} does"
    return LeaseLost(text_, details={"id": job_id, "attempt": attempt})


def taken(core: Core, lease: Lease) -> Live:
    """The job of a lease. Raises `LeaseLost` if its record turns out to be damaged."""
    space = lease.queue.space
    row = read_job(core, lease.place)
    if row is None:
        end_lease(core, lease)
        raise LeaseLost(
            "the record of this job is damaged and was set aside", details={"id": lease.id}
        )
    return Live(lease.queue, lease.id, lease.place, row, state_of(space, lease.id), lease)


# ---- fail --------------------------------------------------------------------------------


def fail(core: Core, _session: Session, _request_id: int, raw: object) -> object:
    """[[id, attempt, options], ...] -> outcomes: retried later, or dead."""
    return each(core, "fail", raw, _fail)


def _fail(core: Core, lease: Lease, entry: list[object]) -> object:
    given = args_map("fail", item(entry, 2))
    kind = given.get("kind") or "failed"
    if kind not in KINDS:
        raise BadRequest(f"kind must be one of {', '.join(KINDS)}")
    retry_in = given.get("retry_in_ms")
    if retry_in is not None:
        whole(retry_in, "retry_in_ms", 0, DELAY_MS_MAX)
    asked_dead = flag(given.get("dead"), "dead", False)
    error_type = cut(given.get("error_type"), "error_type", limits.ERROR_TYPE_CHARS_MAX)
    message = cut(given.get("message"), "message", limits.ERROR_MESSAGE_CHARS_MAX)
    traceback = _tail(given.get("traceback"))
    live = taken(core, lease)
    state = with_attempt(core, known(live.state), lease, str(kind), error_type, message, traceback)
    queue = lease.queue
    if kind == "timeout":
        state = state._replace(timeouts=state.timeouts + 1)
        queue.totals.timeouts += 1
    elif kind == "crashed":
        state = state._replace(lost=state.lost + 1)
        queue.totals.lost += 1
    else:
        state = state._replace(failures=state.failures + 1)
        queue.totals.failed += 1
    end_lease(core, lease)
    core.remember_settled(lease.id, lease.attempt)
    queue.ended_rate.add(1, core.now.mono_ms)
    if state.flags & CANCEL_ASKED:
        return [0, _end_cancelled(core, live, state)]
    reason = "asked" if asked_dead else _used_up(live, state)
    if reason is not None:
        bury(core, live, state, reason)
        return [0, {"state": "dead", "ready_at_ms": None, "reason": reason}]
    assert retry_in is None or isinstance(retry_in, int)
    return [0, _retry(core, live, state, retry_in, kind == "crashed")]


def _retry(
    core: Core, live: Live, state: StateRow, retry_in: int | None, crashed: bool
) -> dict[str, object]:
    queue, record = live.queue, unpack_record(live.row)
    if retry_in is None:
        own = extras_of(record).get("retry")
        policy = policy_from_wire(own) if own is not None else queue.settings.retry
        used = state.failures + state.timeouts + (state.lost if crashed else 0)
        retry_in = delay_ms(policy, max(1, used), core.random())
    place = move(
        core,
        queue,
        live.id,
        live.place,
        record,
        state,
        priority=priority_of(live.place),
        ready_at_ms=min(core.now.wall_ms + retry_in, limits.TIME_MS_MAX),
        retrying=True,
    )
    queue.totals.retried += 1
    ready_at_ms = int.from_bytes(place[5:11], "big")
    return {"state": "retrying", "ready_at_ms": ready_at_ms, "reason": None}


def _used_up(live: Live, state: StateRow) -> str | None:
    """Why a job is dead, or None while it has attempts left."""
    poison_after = live.queue.settings.poison_after
    if poison_after and state.lost >= poison_after:
        return "poison"
    most = unpack_record(live.row).max_attempts or live.queue.settings.max_attempts
    return "attempts" if state.failures + state.timeouts + state.lost >= most else None


def _end_cancelled(core: Core, live: Live, state: StateRow) -> dict[str, object]:
    live.queue.totals.cancelled += 1
    finish(core, live, "cancelled", state, reason="cancelled")
    return {"state": "cancelled", "ready_at_ms": None, "reason": "cancelled"}


def cut(value: object, name: str, most: int) -> str:
    """A text, of which the first `most` characters are kept; nil is none."""
    return "" if value is None else text(value, name)[:most]


def _tail(value: object) -> str:
    if value is None:
        return ""
    whole_text = text(value, "traceback")
    most = limits.TRACEBACK_CHARS_MAX
    return whole_text if len(whole_text) <= most else "…" + whole_text[1 - most :]


# ---- release -----------------------------------------------------------------------------


def release(core: Core, _session: Session, _request_id: int, raw: object) -> object:
    """[[id, attempt, delay_ms?, reason?], ...] -> outcomes: given back, no attempt used."""
    return each(core, "release", raw, _release)


def _release(core: Core, lease: Lease, entry: list[object]) -> object:
    delay = item(entry, 2)
    if delay is not None:
        whole(delay, "delay_ms", 0, DELAY_MS_MAX)
    assert delay is None or isinstance(delay, int)
    reason = cut(item(entry, 3), "reason", limits.ERROR_MESSAGE_CHARS_MAX)
    release_lease(core, lease, delay or 0, reason)
    core.remember_settled(lease.id, lease.attempt)
    return 0


def release_lease(core: Core, lease: Lease, delay: int = 0, reason: str = "") -> None:
    """Gives a job back; with a delay (ms) it moves to that time. `reason` is for its history."""
    live = taken(core, lease)
    state = with_attempt(core, known(live.state), lease, "released", message=reason)
    state = state._replace(released=state.released + 1)
    end_lease(core, lease)
    lease.queue.totals.released += 1
    if state.flags & CANCEL_ASKED:
        _end_cancelled(core, live, state)
    elif delay and not may_expire(live, core.now.wall_ms):
        move(
            core,
            live.queue,
            live.id,
            live.place,
            unpack_record(live.row),
            state,
            priority=priority_of(live.place),
            ready_at_ms=min(core.now.wall_ms + delay, limits.TIME_MS_MAX),
            retrying=False,
        )
    else:
        put_back(core, lease, live.row, state)


def goodbye(core: Core, session: Session, _request_id: int, raw: object) -> object:
    """goodbye [keep] -> {released}: as `keep`; the shell then closes the connection."""
    return _give_back(core, session, "goodbye", raw)


def keep(core: Core, session: Session, _request_id: int, raw: object) -> object:
    """keep [keep] -> {released}: the session's leases but `keep` are given back at once."""
    return _give_back(core, session, "keep", raw)


def _give_back(core: Core, session: Session, op: str, raw: object) -> dict[str, object]:
    args = args_list(op, raw)
    kept: set[tuple[bytes, int]] = set()
    listed = item(args, 0)
    if listed is not None:
        if type(listed) is not list:
            raise BadRequest("keep must be an array of [id, attempt], or nil")
        for entry in listed:
            match entry:
                case [bytes(job_id), int(attempt), *_]:
                    kept.add((job_id, attempt))
                case _:
                    raise BadRequest("keep must be an array of [id, attempt], or nil")
    released = 0
    for space in (core.disk, core.memory):
        for lease in space.leases.of_session(session.id):
            if (lease.id, lease.attempt) not in kept:
                try:
                    release_lease(core, lease)
                    released += 1
                except LeaseLost:
                    continue
    return {"released": released}


# ---- extend ------------------------------------------------------------------------------


def extend(core: Core, session: Session, _request_id: int, raw: object) -> object:
    """[[id, attempt, lease_ms?], ...] -> outcomes: the leases run on from now."""
    # An extension by the same length is not written (a restart re-arms every lease in full), and
    # is answered at once when nothing is on its way to the disk. Else it waits for that: another
    # length may be in it, this one or an earlier one that was not answered yet.
    return each(core, "extend", raw, _extend)


def _extend(core: Core, lease: Lease, entry: list[object]) -> object:
    lease_ms = item(entry, 2)
    if lease_ms is not None:
        lease_ms = whole(lease_ms, "lease_ms", limits.LEASE_MS_MIN, limits.LEASE_MS_MAX)
        if lease_ms != lease.lease_ms:
            lease.lease_ms = lease_ms
            save_lease(lease)
    lease.queue.space.leases.extend(lease, core.now.mono_ms + lease.lease_ms)
    lease.queue.totals.extended += 1
    if not lease.plain:
        state = state_of(lease.queue.space, lease.id)
        if state is not None and state.flags & CANCEL_ASKED:
            return [0, {"cancel": True}]
    return 0


# ---- leases that run out -----------------------------------------------------------------

EXPIRED_PER_TICK = 1_000
"""The most leases one tick ends; the rest follow in the next."""


def end_lost_leases(core: Core) -> None:
    """Jobs whose worker went silent go back in line, or are dead."""
    for space in (core.disk, core.memory):
        ended = 0
        while ended < EXPIRED_PER_TICK:
            leases = space.leases.run_out(core.now.mono_ms)
            if not leases:
                break
            # Thousands may end at one moment: the leases of a session that took many.
            for lease in leases[: EXPIRED_PER_TICK - ended]:
                _lose(core, lease)
                ended += 1


def _lose(core: Core, lease: Lease) -> None:
    queue = lease.queue
    queue.totals.lost += 1
    try:
        live = taken(core, lease)
    except LeaseLost:
        return
    state = with_attempt(core, known(live.state), lease, "lost")
    state = state._replace(lost=state.lost + 1)
    end_lease(core, lease)
    if state.flags & CANCEL_ASKED:
        _end_cancelled(core, live, state)
        return
    reason = _used_up(live, state)
    if reason is not None:
        bury(core, live, state, reason)
    else:
        put_back(core, lease, live.row, state)
