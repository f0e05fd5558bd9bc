"""Faults in the turn: commits, replies, alarms, waiting, restarts of the engine, connections."""

from __future__ import annotations

from tests.mutants.mutant import Mutant, any_of

_ENGINE = "server/tenure_server/engine"
_PUMP = "server/tenure_server/pump.py"

COMMITS = (
    Mutant(
        "replies leave when their batch is submitted",
        _PUMP,
        "        self._submitted_us = mono_us()\n",
        "        self._submitted_us = mono_us()\n"
        "        self._deliver(sealed.replies)\n"
        "        sealed.replies.clear()\n",
        any_of(
            "no confirmed enqueue lost",
            "no confirmed end undone",
            "ends visible",
            "fail-stop",
            "starts again",
        ),
        needs="power_cuts,crash_points",
    ),
    Mutant(
        "a reply leaves with the batch before its own",
        f"{_ENGINE}/engine.py",
        "        if core.pending and not (core.disk.writes or core.disk.dirty_lanes"
        " or core.changed_tallies):\n",
        "        if core.pending and core.disk.flying:\n",
        any_of(
            "no confirmed enqueue lost",
            "no confirmed end undone",
            "ends visible",
            "no faults inside",
        ),
        needs="power_cuts,crash_points",
    ),
    Mutant(
        "acks alone are answered without a commit",
        f"{_ENGINE}/ack.py",
        "    if done:\n        space.writes = True\n",
        "    if done:\n",
        any_of("no confirmed end undone"),
        needs="power_cuts,crash_points",
    ),
    Mutant(
        "after a failed sync on the loop's thread the broker goes on",
        _PUMP,
        "            self._outcome = (error,)\n",
        "            self._outcome = (None,)\n",
        any_of(
            "fail-stop",
            "no confirmed enqueue lost",
            "no confirmed end undone",
            "attempts counted",
            "no faults inside",
        ),
        needs="sync_errors,power_cuts",
    ),
    Mutant(
        "after a failed sync on the journal's thread the broker goes on",
        _PUMP,
        "            self._loop.call_soon_threadsafe(self._committed, error)\n",
        "            self._loop.call_soon_threadsafe(self._committed, None)\n",
        any_of(
            "fail-stop",
            "no confirmed enqueue lost",
            "no confirmed end undone",
            "attempts counted",
            # A lease that was delivered and is not there.
            "one holder",
        ),
        needs="sync_errors,power_cuts",
    ),
    Mutant(
        "the end of a commit brings no turn",
        _PUMP,
        "self._step(now)",
        "pass",
        any_of("in time", "ends visible"),
        needs="waits",
    ),
)

ALARMS = (
    Mutant(
        "an alarm is not moved forward when something is due sooner",
        _PUMP,
        "        if self._timer is None or ",
        "        if self._timer is None or False and ",
        any_of("in time", "ends visible"),
        needs="delays,waits",
    ),
    Mutant(
        "no alarm is set for the ends of leases",
        f"{_ENGINE}/engine.py",
        "        ends = [disk.leases.next_end_ms(), memory.leases.next_end_ms()]\n",
        "        ends: list[int | None] = []\n",
        any_of("in time", "ends visible"),
        needs="dying_workers,slow_workers,waits",
    ),
    Mutant(
        "a queue whose alarm rang sets no other",
        f"{_ENGINE}/engine.py",
        "                queue.alarm_ms = NO_ALARM\n",
        "",
        any_of("in time", "ends visible"),
        needs="delays,waits",
    ),
    Mutant(
        "jobs that become durable wake nobody",
        f"{_ENGINE}/engine.py",
        "                core.hot[queue.name] = None\n        for key, row in flown",
        "                pass\n        for key, row in flown",
        any_of("in time", "ends visible"),
        needs="batches,waits",
    ),
    Mutant(
        "what a lost connection waited for goes on waiting",
        f"{_ENGINE}/engine.py",
        "        waiting.drop_waits(self._core, session)\n",
        "",
        any_of("memory bounds", "in time"),
        needs="waits,resets",
    ),
    Mutant(
        "an answered reserve is counted as waiting for ever",
        f"{_ENGINE}/waiting.py",
        "    core.waiting -= 1\n",
        "",
        any_of("memory bounds"),
        needs="waits",
    ),
)

RESTARTS = (
    Mutant(
        "a start forgets who holds which job",
        f"{_ENGINE}/recovery.py",
        "    whole = _load_leases(core)\n",
        "    whole = True\n",
        any_of(
            "one holder",
            "attempts counted",
            "counts equal contents",
            "ends visible",
            "no faults inside",
        ),
        needs="kills,slow_workers",
    ),
    Mutant(
        "a start takes every job that a row of leases names for leased",
        f"{_ENGINE}/recovery.py",
        " or has_past(get, job_id, row):\n",
        ":\n",
        any_of(
            "one holder", "attempts counted", "counts equal contents", "ends visible", "in time"
        ),
        needs="kills,batches,retries,releases,slow_workers",
    ),
    Mutant(
        "a row of leases goes with the last but one",
        f"{_ENGINE}/lease_rows.py",
        "    if not bundle.left:\n",
        "    if bundle.left < 2:\n",
        any_of("one holder", "attempts counted", "counts equal contents", "no faults inside"),
        needs="kills,slow_workers",
    ),
    Mutant(
        "a job that is asked to end is not leased any more after a restart",
        f"{_ENGINE}/lease_rows.py",
        "    if lease.bundle is not None:\n        save_lease(lease)\n",
        "",
        any_of("one holder", "attempts counted", "counts equal contents", "ends visible"),
        needs="kills,slow_workers,cancels",
    ),
    Mutant(
        "a start gives leases half of their time",
        f"{_ENGINE}/recovery.py",
        "    until_ms = core.now.mono_ms + stored.lease_ms\n",
        "    until_ms = core.now.mono_ms + stored.lease_ms // 2\n",
        any_of("one holder"),
        needs="kills,slow_workers,waits",
    ),
    Mutant(
        "a start forgets what LMDB has of the journal's numbers",
        "storage/tenure_storage/journaled_store.py",
        "    return JournaledStore(inner, journal, number)\n",
        "    return JournaledStore(inner, journal, 0)\n",
        any_of(
            "no confirmed enqueue lost",
            "no confirmed end undone",
            "counts equal contents",
            "starts again",
        ),
        needs="kills",
    ),
)

CONNECTIONS = (
    Mutant(
        "a frame that arrives in pieces loses its beginning",
        "protocol/tenure_protocol/frames.py",
        "                buffer += data[rest:]\n",
        "                buffer += data[rest:][:8]\n",
        any_of("no faults inside", "in time", "ends visible"),
        needs="splits",
    ),
    Mutant(
        "a client repeats an enqueue under another sequence",
        "client/tenure/core/session.py",
        "                call.suspect = fatal\n",
        "                call.suspect = fatal\n"
        "                if call.sequence:\n"
        "                    call.sequence = self._next_sequence\n"
        "                    self._next_sequence += 1\n",
        any_of("idempotent retries"),
        needs="lost_replies",
    ),
    Mutant(
        "a client forgets what was on its way when the connection broke",
        "client/tenure/core/session.py",
        "                call.sent_ms = -1\n                call.suspect = fatal\n",
        "                self._drop(call)\n",
        any_of("in time", "ends visible"),
        needs="resets,waits",
    ),
)
