"""Faults in what the engine does with jobs: enqueue, deliver, settle, end."""

from __future__ import annotations

from tests.mutants.mutant import Mutant, any_of

_ENGINE = "server/tenure_server/engine"

ENQUEUE = (
    Mutant(
        "a repeated enqueue stores its jobs again",
        f"{_ENGINE}/enqueue.py",
        "        repeated = _repeated(core, queue, producer)\n",
        "        repeated = None\n",
        any_of("idempotent retries", "nothing from nowhere"),
        needs="lost_replies",
    ),
    Mutant(
        "a draining broker calls refused what it has stored",
        f"{_ENGINE}/enqueue.py",
        "    if producer is not None:\n        repeated = _repeated(",
        '    if core.draining:\n        raise Draining("the broker is stopping")\n'
        "    if producer is not None:\n        repeated = _repeated(",
        any_of("nothing from nowhere"),
        needs="draining,lost_replies,kills",
    ),
    Mutant(
        "what a producer sent is not looked up after a restart",
        f"{_ENGINE}/enqueue.py",
        "    if producer.sequence > highest >= 0:\n",
        "    if producer.sequence > highest:\n",
        any_of("idempotent retries", "nothing from nowhere"),
        needs="lost_replies,kills,crash_points",
    ),
    Mutant(
        "a unique name that is held keeps nobody out",
        f"{_ENGINE}/enqueue.py",
        "        held = None if plan.unique is None else _holder(core, queue, plan.unique)\n",
        "        held = None\n",
        any_of("one of a name"),
        needs="unique,delays",
    ),
    Mutant(
        "a unique name is not released when its job ends",
        f"{_ENGINE}/ending.py",
        "            space.put(UNIQUE, key, None)\n",
        "            pass\n",
        any_of("counts equal contents"),
        needs="unique",
    ),
    Mutant(
        "the last number of a request is given out again",
        f"{_ENGINE}/core.py",
        "        self.seq = first + count - 1\n",
        "        self.seq = first + count - 2\n",
        any_of("nothing from nowhere", "no confirmed enqueue lost", "counts equal contents"),
        needs="batches",
    ),
    Mutant(
        "jobs of one request come in the reverse order",
        f"{_ENGINE}/enqueue.py",
        '        key = prefix + seq.to_bytes(5, "big")\n        content = tail + body\n',
        "        back = 2 * first_seq + len(bodies) - 1 - seq\n"
        '        key = prefix + back.to_bytes(5, "big")\n        content = tail + body\n',
        any_of("order", "idempotent retries", "counts equal contents"),
        needs="batches",
    ),
    Mutant(
        "the lowest priority comes first",
        f"{_ENGINE}/queues.py",
        "        self.order = [self.lanes[priority] for priority in sorted(self.lanes)]\n",
        "        self.order = [self.lanes[p] for p in sorted(self.lanes, reverse=True)]\n",
        any_of("order"),
        needs="priorities",
    ),
    Mutant(
        "a full store takes enqueues",
        f"{_ENGINE}/enqueue.py",
        "    if core.store_full and not queue.space.volatile:\n",
        "    if core.store_full and queue.space.volatile:\n",
        any_of("a full store"),
        needs="full_disk",
    ),
    Mutant(
        "a full store takes no acks",
        f"{_ENGINE}/ack.py",
        '    args = args_list("ack", raw)\n',
        '    args = args_list("ack", raw)\n'
        "    if core.store_full:\n"
        "        from tenure_protocol.errors import StoreFull\n\n"
        '        raise StoreFull("the store is full")\n',
        any_of("a full store"),
        needs="full_disk",
    ),
    Mutant(
        "a queue has no limit",
        f"{_ENGINE}/enqueue.py",
        "    if settings.max_jobs and queue.jobs + count > settings.max_jobs:\n",
        "    if settings.max_jobs and queue.jobs > settings.max_jobs:\n",
        any_of("memory bounds"),
        needs="queue_limits,batches",
    ),
)

DELIVERY = (
    Mutant(
        "a refill that is exactly full takes the lane for read",
        f"{_ENGINE}/lanes.py",
        "        more = len(found) == most or",
        "        more = len(found) > most or",
        any_of("ends visible", "in time", "order"),
        needs="batches,kills",
    ),
    Mutant(
        "a window whose tail was dropped still claims to reach as far",
        f"{_ENGINE}/lanes.py",
        "    lane.horizon = lane.keys[-1]\n",
        "",
        any_of("ends visible", "in time", "order"),
        needs="batches",
    ),
    Mutant(
        "a refill takes jobs in that somebody holds",
        f"{_ENGINE}/lanes.py",
        "if kv[0] not in leased and not space.pending(kv[0])]\n"
        "        elif leased:\n"
        "            good = [kv for kv in found if kv[0] not in leased]\n",
        "if not space.pending(kv[0])]\n",
        any_of(
            "one holder",
            "attempts counted",
            "counts equal contents",
            "no faults inside",
            "no confirmed end undone",
        ),
        needs="kills,slow_workers",
    ),
    Mutant(
        "a refill takes jobs in that a batch on its way deletes",
        f"{_ENGINE}/lanes.py",
        "if kv[0] not in leased and not space.pending(kv[0])]",
        "if kv[0] not in leased]",
        any_of(
            "one holder",
            "attempts counted",
            "counts equal contents",
            "no faults inside",
            "no confirmed end undone",
        ),
        needs="batches,kills,slow_disk,waits",
    ),
    Mutant(
        "a job that was leased before it was durable enters the window",
        f"{_ENGINE}/lanes.py",
        "        if row is None or key in leased or space.pending(key):\n",
        "        if row is None or space.pending(key):\n",
        any_of(
            "one holder", "attempts counted", "counts equal contents", "no confirmed end undone"
        ),
        needs="waits,slow_workers",
    ),
    Mutant(
        "windows have no budget",
        f"{_ENGINE}/lanes.py",
        "    if space.window_bytes <= budget_bytes:\n        return\n    # Whole windows",
        "    if space.window_bytes >= 0:\n        return\n    # Whole windows",
        any_of("memory bounds"),
        needs="batches",
    ),
    Mutant(
        "a delayed job is ready 1 ms early",
        f"{_ENGINE}/lanes.py",
        '    return lane.key + wall_ms.to_bytes(6, "big") + _LAST\n',
        '    return lane.key + (wall_ms + 1).to_bytes(6, "big") + _LAST\n',
        any_of("never before its time", "in time"),
        needs="delays,waits",
    ),
    Mutant(
        "a fresh job overtakes one that is on its way to the disk",
        f"{_ENGINE}/reserve.py",
        "    if any(run_lane.key[:4] == lane.key[:4] for f in space.flying",
        "    if any(run_lane.key[:0] == lane.key[:4] for f in space.flying",
        any_of("order"),
        needs="waits,priorities",
    ),
    Mutant(
        "a lease ends with its last millisecond, of which a part may have passed before it began",
        f"{_ENGINE}/leases.py",
        "        until_ms += self._cut_ms\n",
        "",
        any_of("one holder"),
    ),
    Mutant(
        "a lease ends 20 ms early",
        f"{_ENGINE}/reserve.py",
        "                bucket = leases.bucket(mono_ms + lease_ms, session.id, session.worker)\n",
        "                bucket = leases.bucket(mono_ms + lease_ms - 20, session.id, session.worker)\n",
        any_of("one holder"),
        needs="slow_workers,waits",
    ),
    Mutant(
        "more jobs are leased than may be",
        f"{_ENGINE}/reserve.py",
        "    most = min(wanted.max_jobs, room)\n",
        "    most = wanted.max_jobs if room > 0 else 0\n",
        any_of("memory bounds"),
    ),
    Mutant(
        "a redelivery has the number of the delivery before",
        f"{_ENGINE}/reserve.py",
        "    past = known(state)\n    attempt = past.attempt + 1\n",
        "    past = known(state)\n    attempt = max(1, past.attempt)\n",
        any_of("attempts counted"),
        needs="releases,retries",
    ),
    Mutant(
        "an expired job is delivered all the same",
        f"{_ENGINE}/reserve.py",
        "    if record.expires_at_ms and may_expire(live, core.now.wall_ms):\n",
        "    if record.expires_at_ms < 0:\n",
        any_of("never after its time"),
        needs="expiries,pauses",
    ),
    Mutant(
        "a leased job expires",
        f"{_ENGINE}/sweeps.py",
        "        if live is not None and live.lease is None and may_expire(live, now_ms):\n",
        "        if live is not None and may_expire(live, now_ms):\n",
        any_of(
            "counts equal contents", "one holder", "no faults inside", "no confirmed end undone"
        ),
        needs="expiries,slow_workers",
    ),
)

SETTLING = (
    Mutant(
        "whoever names the job may settle it, whatever the attempt",
        f"{_ENGINE}/settle.py",
        "            if lease is not None and lease.attempt == attempt:\n",
        "            if lease is not None:\n",
        any_of("one holder"),
        needs="slow_workers,waits",
    ),
    Mutant(
        "a repeated ack is refused",
        f"{_ENGINE}/settle.py",
        "            elif op not in UNREMEMBERED and core.was_settled(job_id, attempt):\n",
        '            elif op not in {*UNREMEMBERED, "ack"} and core.was_settled(job_id, attempt):\n',
        any_of("idempotent retries", "nothing from nowhere"),
        needs="lost_replies,resets",
    ),
    Mutant(
        "a failure uses up no attempt",
        f"{_ENGINE}/settle.py",
        "        state = state._replace(failures=state.failures + 1)\n",
        "",
        any_of("attempts counted"),
        needs="retries",
    ),
    Mutant(
        "a lease that ran out is not counted",
        f"{_ENGINE}/settle.py",
        '    state = with_attempt(core, known(live.state), lease, "lost")\n'
        "    state = state._replace(lost=state.lost + 1)\n",
        '    state = with_attempt(core, known(live.state), lease, "lost")\n',
        any_of("attempts counted", "ends visible"),
        needs="slow_workers,dying_workers,waits",
    ),
    Mutant(
        "a poisonous job is tried once too often",
        f"{_ENGINE}/settle.py",
        "    if poison_after and state.lost >= poison_after:\n",
        "    if poison_after and state.lost > poison_after:\n",
        any_of("attempts counted"),
        needs="poison,retries",
    ),
    Mutant(
        "a job that used its attempts up is dropped, not kept as dead",
        f"{_ENGINE}/ending.py",
        "    queue.space.put(DEAD, key, sealed_map(key, entry))\n",
        "",
        any_of("ends visible", "counts equal contents", "no confirmed enqueue lost"),
        needs="retries",
    ),
    Mutant(
        "a cancel of a leased job is forgotten when the job is released",
        f"{_ENGINE}/settle.py",
        "    if state.flags & CANCEL_ASKED:\n        _end_cancelled(core, live, state)\n    elif delay",
        "    if delay",
        any_of("no confirmed end undone"),
        needs="cancels,releases,slow_workers,results",
    ),
    Mutant(
        "a release with a delay does not wait",
        f"{_ENGINE}/settle.py",
        "    elif delay and not may_expire(live, core.now.wall_ms):\n",
        "    elif delay < 0:\n",
        any_of("never before its time"),
        needs="releases",
    ),
    Mutant(
        "an extension does not extend",
        f"{_ENGINE}/settle.py",
        "    lease.queue.space.leases.extend(lease, core.now.mono_ms + lease.lease_ms)\n",
        "",
        any_of("one holder"),
        needs="extends,slow_workers",
    ),
    Mutant(
        "a job that was put back is not counted",
        f"{_ENGINE}/jobs.py",
        "    lanes.count(space, lane, place, 1, len(row), False)\n    put_state(space, lease.id,",
        "    put_state(space, lease.id,",
        any_of("counts equal contents", "ends visible", "in time", "no faults inside"),
        needs="releases",
    ),
    Mutant(
        "the count of kept jobs is not written",
        f"{_ENGINE}/core.py",
        "            self.changed_tallies[queue.number] = queue\n",
        "            pass\n",
        any_of("counts equal contents", "no confirmed end undone"),
        needs="retries,results,kills",
    ),
    Mutant(
        "a purge sweeps jobs away that somebody holds",
        f"{_ENGINE}/sweeps.py",
        "        if key in space.leases.places:\n            blocked = True\n        elif",
        "        if",
        any_of("counts equal contents", "one holder", "no faults inside"),
        needs="purges,slow_workers",
    ),
)
