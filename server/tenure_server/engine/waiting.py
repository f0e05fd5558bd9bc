"""Requests that wait: reserves for jobs, and waits for a job to end.

They are answered by what happens, never by asking again: an announcement, a due time, a
job put back or a queue resumed makes a queue hot, and hot queues are served at the end of
the turn.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict

from tenure_protocol.errors import BadRequest, JobNotFound, TooManyWaiting
from tenure_protocol.limits import QUEUES_PER_RESERVE_MAX, WAIT_MS_MAX
from tenure_server.engine.core import Core
from tenure_server.engine.fields import args_list, item, job_id, whole
from tenure_server.engine.finding import find_live, show
from tenure_server.engine.queues import Queue
from tenure_server.engine.types import Session

WAITING = object()
"""What an operation returns when its reply comes later."""


NAMES_PER_WAIT = 16
"""So many queues may the waiting requests name on average, when as many wait as may. Each may
name more, but a name that is waited for takes as much memory as a request does."""

SLACK = 1_024
"""How many answered requests may stay in the order of ends until it is tidied."""


class Reserve:
    """A reserve, answered or waiting. `queues` in their order; weights only where given."""

    __slots__ = (
        "auto_ack",
        "ends_ms",
        "lease_ms",
        "max_jobs",
        "open",
        "queues",
        "request_id",
        "session",
        "weights",
    )

    def __init__(
        self,
        session: Session,
        request_id: int,
        queues: list[str],
        weights: dict[str, int] | None,
        max_jobs: int,
        lease_ms: int | None,
        auto_ack: bool,
    ) -> None:
        self.session = session
        self.request_id = request_id
        self.queues = queues
        self.weights = weights
        self.max_jobs = max_jobs
        self.lease_ms = lease_ms
        self.auto_ack = auto_ack
        self.ends_ms = 0
        self.open = True


class JobWait:
    """Somebody who wants to know how a job ends."""

    __slots__ = ("ends_ms", "job_id", "open", "queue", "request_id", "session")

    def __init__(self, session: Session, request_id: int, job: bytes, queue: Queue) -> None:
        self.session = session
        self.request_id = request_id
        self.job_id = job
        self.queue = queue
        self.ends_ms = 0
        self.open = True


def hold(core: Core, wait: Reserve | JobWait, ends_ms: int) -> None:
    """Lets a request wait until `ends_ms` (monotonic). Raises `TooManyWaiting`."""
    if core.waiting >= core.limits.waiting_max:
        raise TooManyWaiting(
            f"{core.waiting} requests wait already, which is the broker's limit",
            details={"limit": core.limits.waiting_max},
        )
    if isinstance(wait, Reserve):
        most = max(NAMES_PER_WAIT * core.limits.waiting_max, QUEUES_PER_RESERVE_MAX)
        if core.waiting_names + len(wait.queues) > most:
            raise TooManyWaiting(
                f"the reserves that wait name {core.waiting_names} queues, and may name {most}; "
                "wait for fewer queues",
                details={"limit": most},
            )
        core.waiting_names += len(wait.queues)
    if len(core.wait_ends) > 2 * core.waiting + SLACK:
        # Most requests are answered long before their time is over; they must not pile up here.
        core.wait_ends = [entry for entry in core.wait_ends if entry[2].open]
        heapq.heapify(core.wait_ends)
    core.waiting += 1
    core.wait_number += 1
    wait.ends_ms = ends_ms
    wait.session.waits[wait.request_id] = wait
    heapq.heappush(core.wait_ends, (ends_ms, core.wait_number, wait))
    if isinstance(wait, Reserve):
        for name in wait.queues:
            core.reserves.setdefault(name, OrderedDict())[wait] = None
    else:
        core.job_waits.setdefault(wait.job_id, []).append(wait)


def close(core: Core, wait: Reserve | JobWait) -> None:
    """A request no longer waits."""
    wait.open = False
    core.waiting -= 1
    wait.session.waits.pop(wait.request_id, None)
    if isinstance(wait, Reserve):
        core.waiting_names -= len(wait.queues)
        for name in wait.queues:
            waiting = core.reserves[name]
            waiting.pop(wait, None)
            if not waiting:
                del core.reserves[name]
                core.crowded_out.pop(name, None)
    else:
        waits = core.job_waits.get(wait.job_id, [])
        waits.remove(wait)
        if not waits:
            core.job_waits.pop(wait.job_id, None)


def end_waits(core: Core) -> None:
    """Answers the requests whose time is over."""
    ends = core.wait_ends
    while ends and (ends[0][0] <= core.now.mono_ms or not ends[0][2].open):
        wait = heapq.heappop(ends)[2]
        if wait.open:
            close(core, wait)
            _answer_late(core, wait)


def _answer_late(core: Core, wait: Reserve | JobWait) -> None:
    if isinstance(wait, Reserve):
        core.reply(wait.session, wait.request_id, [], True)
    else:
        _show(core, wait)


def _show(core: Core, wait: JobWait) -> None:
    instant = core.space_of(wait.job_id).volatile
    try:
        core.reply(wait.session, wait.request_id, show(core, wait.job_id), instant)
    except JobNotFound as error:
        core.refuse(wait.session, wait.request_id, error, instant)


def answer_dropped(core: Core, queue: Queue) -> None:
    """Tells those who wait for a job of `queue` that was dropped: such a job never ends."""
    for job, waits in list(core.job_waits.items()):
        if waits[0].queue is queue and find_live(core, job) is None:
            for wait in list(waits):
                close(core, wait)
                _show(core, wait)


def end_all_reserves(core: Core) -> None:
    """Answers all waiting reserves with nothing: the broker is stopping."""
    for waiting in list(core.reserves.values()):
        for reserve in list(waiting):
            if reserve.open:
                close(core, reserve)
                core.reply(reserve.session, reserve.request_id, [], True)


def drop_waits(core: Core, session: Session) -> None:
    """A session's connection is gone: nobody is there to answer."""
    for wait in list(session.waits.values()):
        assert isinstance(wait, (Reserve, JobWait))
        close(core, wait)


def wait(core: Core, session: Session, request_id: int, raw: object) -> object:
    """wait [id, timeout_ms] -> job info, when it has ended or the time is over."""
    args = args_list("wait", raw)
    job = job_id(item(args, 0))
    timeout_ms = whole(item(args, 1), "timeout_ms", 0, WAIT_MS_MAX)
    core.instant = core.space_of(job).volatile
    live = find_live(core, job)
    if live is None or timeout_ms == 0:
        return show(core, job)
    if request_id in session.waits:
        raise BadRequest(f"request {request_id} waits already")
    hold(core, JobWait(session, request_id, job, live.queue), core.now.mono_ms + timeout_ms)
    return WAITING
