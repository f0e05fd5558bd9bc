"""Lanes: one priority of a line of jobs, read through a bounded window.

    lane's start                 H (horizon)                          lane's end
    |  W: every live, announced,  |  nothing is remembered here;       |
    |  un-leased key up to H      |  a scan finds it                   |

B-tree order is delivery order, so a lane is never sorted and never moved: W is a copy of
its beginning, and whatever lies beyond H stays on disk until W is empty. The rules, each
with a test that fails without it:

1. W holds every live, announced, un-leased key <= H, due or not. At start, and when a
   window is dropped to save memory: W is empty and H is the lane's start.
2. Refill only when W is empty: scan committed keys after H, skip a key that an unannounced
   batch touches and a leased key; H becomes the last key scanned, or the lane's end.
3. When a batch is announced, each key it put enters W if it is <= H, live, un-leased and
   not touched by a later batch.
4. A window over its budget drops its tail: H becomes the largest key kept. Always safe.
5. Counts are of the overlay. `beyond` are the waiting keys after the mark M; moving M
   forward steps over each delayed key once, and over nothing when none can be due.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Set
from zlib import crc32

from tenure_server.engine.space import Space
from tenure_storage.keys import MARK_ZERO, lane_key
from tenure_storage.layout import RETRYING, LaneRow, intact, pack_lane, record_flags
from tenure_storage.store import JOBS, LANES

ROW_OVERHEAD_BYTES = 200
"""What a row in a window costs beside its own length: key, list and dict entries (measured)."""

REFILL_ROWS_MAX = 1_024
"""The most rows one refill reads."""

AHEAD_ROWS = 64
"""What the first refill of a lane reads; each one after a window that was used up, twice as many.

As file systems read ahead: among hundreds of long queues most windows are dropped for others
before they are used, and reading a thousand rows for one job each time costs ten times the take.
"""

MATURE_ROWS_MAX = 1_000
"""The most delayed keys one call steps over."""

_LAST = b"\xff" * 5
_END = b"\xff" * 11


class Lane:
    """A lane's window and counts. `keys[head:]` is W in order, `rows` the records."""

    __slots__ = (
        "ahead",
        "beyond",
        "bytes",
        "end",
        "head",
        "horizon",
        "key",
        "keys",
        "mark",
        "matured_ms",
        "next_beyond",
        "retired",
        "retrying",
        "rows",
        "size",
        "start",
        "waiting",
    )

    def __init__(self, line: int, priority: int, row: LaneRow | None = None) -> None:
        self.key = lane_key(line, priority)
        self.start = self.key + MARK_ZERO
        self.end = self.key + _END
        self.keys: list[bytes] = []
        self.head = 0
        self.rows: dict[bytes, bytes] = {}
        self.size = 0
        self.ahead = AHEAD_ROWS
        """How many rows the next refill reads."""
        self.retired = False
        row = row or LaneRow(0, 0, 0, 0, MARK_ZERO)
        # A lane without waiting jobs has nothing to scan for: its horizon is its end.
        self.horizon = self.start if row.waiting else self.end
        self.waiting, self.beyond, self.retrying, self.bytes = row[:4]
        self.mark = self.key + row.mark
        self.matured_ms = -1
        """The last time up to which the mark was moved in full; spares most looks."""
        self.next_beyond = self.mark
        """No waiting key beyond the mark is below this one."""

    def __len__(self) -> int:
        return len(self.keys) - self.head

    def __repr__(self) -> str:
        return f"<Lane {self.key.hex()} W={len(self)} waiting={self.waiting} beyond={self.beyond}>"


def _bound(lane: Lane, wall_ms: int) -> bytes:
    """The largest key of a lane that is due at `wall_ms`."""
    return lane.key + wall_ms.to_bytes(6, "big") + _LAST


# ---- windows -----------------------------------------------------------------------------


def admit(space: Space, lane: Lane, key: bytes, row: bytes) -> None:
    """A live, announced, un-leased key (back) in its place, if the window reaches that far."""
    if key > lane.horizon or lane.retired:
        return
    old = lane.rows.get(key)
    cost = len(row) + ROW_OVERHEAD_BYTES
    if old is not None:
        cost -= len(old) + ROW_OVERHEAD_BYTES
    elif not lane.keys or key > lane.keys[-1]:
        lane.keys.append(key)
    else:
        lane.keys.insert(bisect_left(lane.keys, key, lane.head), key)
    lane.rows[key] = row
    lane.size += cost
    space.window_bytes += cost


def admit_front(space: Space, lane: Lane, key: bytes, row: bytes) -> None:
    """A key that was just taken goes back to the front of its window."""
    if lane.head:
        lane.head -= 1
        lane.keys[lane.head] = key
    else:
        lane.keys.insert(0, key)
    lane.rows[key] = row
    lane.size += len(row) + ROW_OVERHEAD_BYTES
    space.window_bytes += len(row) + ROW_OVERHEAD_BYTES


def announce(
    space: Space,
    lane: Lane,
    keys: list[bytes],
    batch_jobs: dict[bytes, bytes | None],
    leased: Set[bytes],
) -> None:
    """Rule 3 for keys that one batch put into one lane."""
    if lane.retired or keys[0] > lane.horizon:
        return
    if _admit_run(space, lane, keys, batch_jobs, leased):
        return
    for key in keys:
        row = batch_jobs[key]
        if row is not None and key not in leased and not space.pending(key):
            admit(space, lane, key, row)


def _admit_run(
    space: Space,
    lane: Lane,
    keys: list[bytes],
    batch_jobs: dict[bytes, bytes | None],
    leased: Set[bytes],
) -> bool:
    """The common case in one go: fresh jobs in their order, behind all that the window has.

    False, and nothing is done, if it is not that.
    """
    behind = lane.keys[-1] if lane.keys else b""
    if not behind < keys[0] or keys[-1] > lane.horizon or not leased.isdisjoint(keys):
        return False
    if any([not rows.keys().isdisjoint(keys) for rows in space.unannounced(JOBS)]):  # noqa: C419 (a generator is slower)
        return False
    rows = [row for key in keys if (row := batch_jobs[key]) is not None]
    if len(rows) != len(keys):
        return False
    lane.keys += keys
    lane.rows.update(zip(keys, rows, strict=True))
    cost = sum(map(len, rows)) + ROW_OVERHEAD_BYTES * len(rows)
    lane.size += cost
    space.window_bytes += cost
    return True


def forget(space: Space, lane: Lane, key: bytes) -> None:
    """Takes a key out of the window, if it is there."""
    row = lane.rows.pop(key, None)
    if row is None:
        return
    del lane.keys[bisect_left(lane.keys, key, lane.head)]
    _shrink(space, lane, len(row) + ROW_OVERHEAD_BYTES)


def _shrink(space: Space, lane: Lane, cost: int) -> None:
    lane.size -= cost
    space.window_bytes -= cost


def take(
    space: Space, lane: Lane, most: int, wall_ms: int, leased: Set[bytes], refill_bytes: int
) -> list[tuple[bytes, bytes]]:
    """The first due jobs of a lane, at most `most`, taken out of its window."""
    if lane.head >= len(lane.keys):
        refill(space, lane, leased, refill_bytes)
    keys, head = lane.keys, lane.head
    stop = min(head + most, len(keys))
    if stop == head:
        return []
    bound = _bound(lane, wall_ms)
    if keys[stop - 1] > bound:
        stop = bisect_right(keys, bound, head, stop)
    pop = lane.rows.pop
    taken = [(key, pop(key)) for key in keys[head:stop]]
    _shrink(space, lane, sum([len(row) for _, row in taken]) + ROW_OVERHEAD_BYTES * len(taken))
    lane.head = stop
    # Cutting the front off only now and then keeps a take at O(1) (measured against pop(0)).
    if stop > 512 and stop * 2 > len(keys):
        del keys[:stop]
        lane.head = 0
    return taken


def refill(space: Space, lane: Lane, leased: Set[bytes], refill_bytes: int) -> None:
    """Rule 2: reads the next stretch of a lane whose window is empty."""
    while lane.head >= len(lane.keys) and lane.horizon < lane.end:
        lane.keys.clear()
        lane.head = 0
        most = min(lane.ahead, REFILL_ROWS_MAX)
        lane.ahead = 2 * most
        found = space.store.scan(JOBS, lane.horizon, lane.end, most, refill_bytes)
        size = sum([len(row) for _, row in found])
        more = len(found) == most or size > refill_bytes
        lane.horizon = found[-1][0] if found and more else lane.end
        good, keys = found, [key for key, _ in found]
        # As a rule there are none of them, so that is asked for all in one go.
        if not leased.isdisjoint(keys):
            good = [kv for kv in found if kv[0] not in leased]
        for rows in space.unannounced(JOBS):
            if not rows.keys().isdisjoint(keys):
                good = [kv for kv in good if kv[0] not in rows]
        # The checksum is written out here, over key and row in one piece: a call a row, and a
        # second call for the key, are a tenth of a refill each (measured).
        if not all([crc32(key + row[4:]).to_bytes(4, "big") == row[:4] for key, row in good]):  # noqa: C419 (a generator is slower)
            for key, row in good:
                if not intact(key, row):
                    lose(space, lane, key, row)
            good = [kv for kv in good if intact(*kv)]
        if good is not found:
            size = sum([len(row) for _, row in good])
            keys = [key for key, _ in good]
        lane.keys = keys
        lane.rows.update(good)
        cost = size + ROW_OVERHEAD_BYTES * len(good)
        lane.size += cost
        space.window_bytes += cost


def lose(space: Space, lane: Lane, key: bytes, row: bytes) -> None:
    """Sets a damaged job aside; it no longer waits."""
    space.set_aside(JOBS, key, row)
    count(space, lane, key, -1, len(row), bool(record_flags(row) & RETRYING))


def trim(space: Space, budget_bytes: int, keep: Lane | None) -> None:
    """Rule 4: brings the windows of a space under their budget. `keep` holds on to its head."""
    if space.window_bytes <= budget_bytes:
        return
    # Whole windows go until there is some room: not for every refill to have to look at all.
    goal_bytes = budget_bytes - budget_bytes // 8
    # The largest window first; equal ones in key order, so that a replay does the same.
    for lane in sorted(space.lanes.values(), key=lambda lane: (-lane.size, lane.key)):
        while len(lane) > 1 and lane.size * 2 > budget_bytes and space.window_bytes > budget_bytes:
            _drop_tail(space, lane, (len(lane) + 1) // 2)
    for lane in sorted(space.lanes.values(), key=lambda lane: (-lane.size, lane.key)):
        if space.window_bytes <= goal_bytes:
            return
        if lane is keep:
            _drop_tail(space, lane, 1)
        else:
            drop(space, lane)


def _drop_tail(space: Space, lane: Lane, kept: int) -> None:
    stop = lane.head + kept
    tail = lane.keys[stop:]
    if not tail:
        return
    cost = sum(len(lane.rows.pop(key)) for key in tail) + ROW_OVERHEAD_BYTES * len(tail)
    del lane.keys[stop:]
    _shrink(space, lane, cost)
    lane.horizon = lane.keys[-1]


def drop(space: Space, lane: Lane) -> None:
    """Forgets a whole window; a refill reads it again."""
    _shrink(space, lane, lane.size)
    lane.keys.clear()
    lane.rows.clear()
    lane.head = 0
    lane.horizon = lane.start
    lane.ahead = AHEAD_ROWS


def next_ready_ms(space: Space, lane: Lane, leased: Set[bytes], refill_bytes: int) -> int | None:
    """When the first announced job of a lane is due, or None when there is none."""
    if lane.head >= len(lane.keys):
        refill(space, lane, leased, refill_bytes)
    if lane.head >= len(lane.keys):
        return None
    return int.from_bytes(lane.keys[lane.head][5:11], "big")


# ---- counts ------------------------------------------------------------------------------


def count(space: Space, lane: Lane, key: bytes, by: int, size: int, retrying: bool) -> None:
    """One job more (+1) or less (-1) waits in a lane."""
    lane.waiting += by
    lane.bytes += by * size
    if key > lane.mark:
        lane.beyond += by
        if retrying:
            lane.retrying += by
        if by > 0 and key < lane.next_beyond:
            lane.next_beyond = key
    space.dirty_lanes[lane.key] = lane


def count_run(space: Space, lane: Lane, keys: list[bytes], by: int, size: int) -> None:
    """Many jobs more or less, with keys in order; none of them is retrying."""
    lane.waiting += by * len(keys)
    lane.bytes += by * size
    if keys[-1] > lane.mark:
        lane.beyond += by * (len(keys) - bisect_right(keys, lane.mark))
        if by > 0 and keys[0] < lane.next_beyond:
            lane.next_beyond = keys[0]
    space.dirty_lanes[lane.key] = lane


def mature(
    space: Space, lane: Lane, wall_ms: int, leased: Set[bytes], most: int = MATURE_ROWS_MAX
) -> None:
    """Rule 5: moves the mark towards `wall_ms`; may stop short of it after `most` keys."""
    if wall_ms <= lane.matured_ms:
        return
    goal = _bound(lane, wall_ms)
    if goal <= lane.mark:
        return
    if not lane.beyond or lane.next_beyond > goal:
        lane.mark, lane.matured_ms = goal, wall_ms
        if not lane.beyond:
            lane.next_beyond = lane.end
        return
    found = space.store.scan(JOBS, lane.mark, goal, most)
    more = len(found) >= most or sum(len(row) for _, row in found) > 1 << 22
    upto = found[-1][0] if found and more else goal
    rows: dict[bytes, bytes | None] = dict(found)
    rows.update(kv for kv in _unannounced(space, lane) if lane.mark < kv[0] <= upto)
    for key, row in rows.items():
        if row is not None and key not in leased:
            lane.beyond -= 1
            if record_flags(row) & RETRYING:
                lane.retrying -= 1
    lane.mark = upto
    lane.next_beyond = upto if upto < goal else _next_beyond(space, lane)
    space.dirty_lanes[lane.key] = lane


def _unannounced(space: Space, lane: Lane) -> list[tuple[bytes, bytes | None]]:
    """Every write to a job of the lane that is not announced, the last word on each key last."""
    batches = [*(flying.batch for flying in space.flying), space.open]
    return [
        (key, row) for b in batches for key, row in b.tables[JOBS].items() if key[:5] == lane.key
    ]


def _next_beyond(space: Space, lane: Lane) -> bytes:
    """A key at or below the first waiting key after the mark."""
    first = space.store.scan(JOBS, lane.mark, lane.end, 1)
    keys = [key for key, _ in first]
    keys += [key for key, row in _unannounced(space, lane) if row is not None and key > lane.mark]
    return min(keys, default=lane.end)


def save(space: Space) -> None:
    """Adds the rows of all changed lanes to the open batch; an empty lane has no row."""
    for key, lane in space.dirty_lanes.items():
        if lane.retired:
            continue
        if lane.waiting:
            row = LaneRow(lane.waiting, lane.beyond, lane.retrying, lane.bytes, lane.mark[5:])
            space.put(LANES, key, pack_lane(key, row))
        else:
            space.put(LANES, key, None)
    space.dirty_lanes.clear()
