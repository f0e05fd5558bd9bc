"""Serving the reserves that wait: what has become ready goes to them, oldest first."""

from __future__ import annotations

import heapq

from tenure_server.engine import lanes
from tenure_server.engine.core import Core
from tenure_server.engine.delivery import delivered_bytes
from tenure_server.engine.queues import NO_ALARM, Queue
from tenure_server.engine.reserve import all_volatile, collect
from tenure_server.engine.waiting import Reserve, close

SERVED_BYTES_MAX = 32 * 1024 * 1024
"""How much one turn gives to those who wait; the rest follows in the next turns."""

ALARMS_SLACK = 1_024
"""How many alarms that were moved, or whose queue is gone, may stay until they are tidied away."""


def serve_hot(core: Core) -> None:
    """Gives what has become ready to the reserves that wait for it; bounded work.

    A queue that could not be served whole stays hot, and the next alarm is at once.
    """
    room = SERVED_BYTES_MAX
    unserved: set[Reserve] = set()
    while room > 0 and (core.hot or _let_in(core)):
        name = next(iter(core.hot))
        del core.hot[name]
        if name in core.reserves:
            room = _serve(core, name, room, unserved)


def _let_in(core: Core) -> bool:
    """Makes queues hot that were crowded out, one for each lease that may be given; whether any.

    Not all of them: most would be crowded out again, after every ack.
    """
    for _ in range(min(core.lease_room, len(core.crowded_out))):
        name = next(iter(core.crowded_out))
        del core.crowded_out[name]
        core.hot[name] = None
    return bool(core.hot)


def _serve(core: Core, name: str, room: int, unserved: set[Reserve]) -> int:
    """Serves one queue; what is left of `room` (bytes).

    Who is `unserved` has looked into all its queues already, and got nothing: it may wait for
    hundreds, all of them hot, and a second look would find no more.
    """
    queue = core.queues.get(name)
    if queue is None or queue.settings.paused or core.draining:
        return room
    looked: Reserve | None = None
    for fresh in (False, True):
        while name in core.reserves:
            wanted = next(iter(core.reserves[name]))
            if wanted in unserved:
                break
            got = collect(core, wanted, fresh)
            if not got:
                # Nothing for this one; others who wait want the same queue.
                if fresh and wanted is looked:
                    unserved.add(wanted)
                looked = wanted
                break
            close(core, wanted)
            core.reply(wanted.session, wanted.request_id, got, all_volatile(core, wanted))
            room -= sum(map(delivered_bytes, got))
            if room <= 0:
                core.hot[name] = None
                return room
    if name in core.reserves:
        if core.lease_room <= 0:
            core.crowded_out[name] = None
        _watch(core, queue)
    return room


def _watch(core: Core, queue: Queue) -> None:
    """Remembers when the next job of a queue is due, for those who wait for it."""
    space = queue.space
    dues = [
        due
        for lane in queue.order
        if lane.waiting
        and (due := lanes.next_ready_ms(space, lane, space.leases.places, core.refill_bytes))
        is not None
    ]
    # What is due already but could not be given (`leases_max`) is looked at when a lease ends.
    later = [due for due in dues if due > core.now.wall_ms]
    if later and min(later) < queue.alarm_ms:
        queue.alarm_ms = min(later)
        if len(core.due_at) > 2 * len(core.queues) + ALARMS_SLACK:
            core.due_at = [
                (each.alarm_ms, each.name)
                for each in core.queues.values()
                if each.alarm_ms < NO_ALARM
            ]
            heapq.heapify(core.due_at)
        else:
            heapq.heappush(core.due_at, (queue.alarm_ms, queue.name))
