"""Faults in the store: the journal, its recovery, and the way from there to LMDB."""

from __future__ import annotations

from tests.mutants.mutant import Mutant, any_of

_JOURNAL = "storage/tenure_storage/journal.py"
_DIRECT = "storage/tenure_storage/direct.py"
_STORE = "storage/tenure_storage/journaled_store.py"
_LOST = any_of(
    "no confirmed enqueue lost",
    "no confirmed end undone",
    "starts again",
    "counts equal contents",
    "ends visible",
    "attempts counted",
    "one holder",
)

JOURNAL = (
    Mutant(
        "the journal confirms what it has not synced",
        _JOURNAL,
        "            left, start = left[written:], start + written\n"
        "        sync_data(self._handle)\n",
        "            left, start = left[written:], start + written\n",
        _LOST,
        needs="power_cuts,crash_points",
    ),
    Mutant(
        "a short write is taken for a whole one",
        _JOURNAL,
        "            left, start = left[written:], start + written\n",
        "            left, start = left[max(written, len(left)) :], start + written\n",
        _LOST,
        needs="kills,batches",
    ),
    Mutant(
        "direct writes are not synchronous",
        _DIRECT,
        "    flags = os.O_WRONLY | os.O_DIRECT | os.O_DSYNC | os.O_CLOEXEC\n",
        "    flags = os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC\n",
        _LOST,
        needs="power_cuts,crash_points",
    ),
    Mutant(
        "a short direct write is taken for a whole one",
        _DIRECT,
        "            done += write_synced(self._handle, view[done:size], at + done)\n",
        "            write_synced(self._handle, view[done:size], at + done)\n            done = size\n",
        _LOST,
        needs="kills,batches",
    ),
    Mutant(
        "a write that failed on the loop's thread counts as done",
        _STORE,
        "            self._tell(on_done, self._failure)\n",
        "            self._tell(on_done, None)\n",
        _LOST | any_of("no faults inside"),
        needs="sync_errors,power_cuts",
    ),
    Mutant(
        "the ring runs over records that LMDB does not have",
        _JOURNAL,
        "            return head if head + size <= oldest else None\n",
        "            return head\n",
        _LOST,
        needs="kills,batches,results,retries",
    ),
    Mutant(
        "a start applies all records but the last",
        _STORE,
        "    for following, content in journal.read_after(number):\n",
        "    for following, content in journal.read_after(number)[:-1]:\n",
        _LOST,
        needs="kills,crash_points",
    ),
    Mutant(
        "LMDB is told of one record more than it has",
        _JOURNAL,
        "        return JournalRow(number, self.size, self.id)\n",
        "        return JournalRow(number + 1, self.size, self.id)\n",
        _LOST,
        needs="kills,crash_points",
    ),
    Mutant(
        "a torn record is taken for a whole one",
        _JOURNAL,
        " or crc32(content, crc32(head)) != checksum:\n",
        ":\n",
        _LOST | any_of("nothing from nowhere", "no faults inside"),
        needs="crash_points,power_cuts,batches",
    ),
)

OVERLAY = (
    Mutant(
        "what was deleted and is not yet out of LMDB is read",
        _STORE,
        "            if key in rows:\n                return rows[key]\n",
        "            if rows.get(key) is not None:\n                return rows[key]\n",
        _LOST | any_of("idempotent retries", "no faults inside", "attempts counted"),
        needs="retries",
    ),
    Mutant(
        "the older of two overlays hides the newer",
        _STORE,
        "        return [self._overlay, self._crossing]\n",
        "        return [self._crossing, self._overlay]\n",
        _LOST | any_of("idempotent retries", "no faults inside", "attempts counted", "one holder"),
        needs="retries,releases",
    ),
    Mutant(
        "what crosses to LMDB is forgotten before it is there",
        _STORE,
        "        if self._crossing is not None and self._crossed.is_set() and",
        "        if self._crossing is not None and",
        _LOST | any_of("idempotent retries", "no faults inside", "attempts counted", "order"),
        needs="batches,kills",
    ),
    Mutant(
        "room in the journal is given back before LMDB has what was there",
        _STORE,
        "        if self._crossing is None and self._due():\n            self._cross()\n",
        "        self._journal.free(self._number)\n"
        "        if self._crossing is None and self._due():\n            self._cross()\n",
        _LOST,
        needs="kills,batches,results,retries",
    ),
    Mutant(
        "a commit that fails behind the journal is not noticed",
        _STORE,
        "            if error is not None:\n"
        "                self._failure = self._failure or error\n"
        "            self._crossed.set()\n",
        "            self._crossed.set()\n",
        _LOST | any_of("fail-stop"),
        needs="commit_errors,kills",
    ),
    Mutant(
        "a batch for which the journal has no room is confirmed and dropped",
        _STORE,
        "        if start is None:\n            self._submit_directly(batch, on_done)\n",
        "        if start is None:\n            on_done(None)\n",
        _LOST | any_of("nothing from nowhere", "no faults inside", "in time"),
        needs="batches",
    ),
    Mutant(
        "a large batch leaves out what waited for LMDB before it",
        _STORE,
        "        if self._overlay.rows:\n            self._overlay.add(batch.tables, 0)\n        else:\n"
        "            self._overlay = Overlay(batch.tables)\n",
        "        self._overlay = Overlay(batch.tables)\n",
        _LOST | any_of("idempotent retries", "no faults inside", "attempts counted", "order"),
        needs="batches,kills",
    ),
    Mutant(
        "a scan ends where rows that were deleted above LMDB end",
        "storage/tenure_storage/overlay.py",
        "        if len(found) < limit and sum(len(row) for _, row in found) <= bytes_max:\n"
        "            return\n",
        "        if found:\n            return\n",
        _LOST | any_of("order", "in time", "no faults inside"),
        needs="batches",
    ),
)
