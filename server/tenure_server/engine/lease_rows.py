"""The rows of leases in the store: one of its own, or one for the first deliveries of a reserve.

    reserve of many ─► bundle: one row that names them all
                          │ ├── ended ──────────► forgotten; the row goes with the last of them
                          │ └── few are left ───► the row is written again, with those alone
                          └── has more to say ──► a row of its own

What ends a lease removes the record of its job or marks it (its flags), so a start knows which of
the jobs in a row are leased through it. Nearly every job is taken and acked with the others of
its bundle: two rows written and removed for all, instead of for each.
"""

from __future__ import annotations

from tenure_server.engine.leases import Bundle, Lease
from tenure_server.engine.space import Space
from tenure_storage.keys import slot_key
from tenure_storage.lease_layout import LeaseRow, pack_bundle, pack_lease
from tenure_storage.store import LEASES

BUNDLE_JOBS_MAX = 100
"""So many jobs are in one row at most. LMDB gives a row of more than 2 KB pages of its own, and
must find them side by side."""

TIDY_SHARE = 4
"""A row is written again when only one in so many of its jobs is left."""


def save_lease(lease: Lease) -> None:
    """Writes a lease's own row; a lease that was in a bundle leaves it."""
    space = lease.queue.space
    bundle = lease.bundle
    if bundle is not None:
        lease.bundle = None
        lease.slot = space.leases.take_slot()
        bundle.left -= 1
        tidy(space, bundle)
    space.leases.slots[lease.slot] = lease
    key = slot_key(lease.slot)
    row = LeaseRow(
        lease.id,
        lease.place,
        lease.attempt,
        lease.lease_ms,
        lease.started_at_ms,
        lease.size,
        lease.session,
        lease.worker,
    )
    space.put(LEASES, key, pack_lease(key, row))


def mark_special(lease: Lease) -> None:
    """More than its record and its lease has to go when this job is acked, from now on."""
    lease.plain = False
    if lease.bundle is not None:
        save_lease(lease)


def save_bundle(space: Space, bundle: Bundle) -> None:
    """Writes the row of new leases. One alone gets a row of its own."""
    bundle.left = len(bundle.ids)
    if bundle.left == 1:
        lease = space.leases.by_id[bundle.ids[0]]
        lease.bundle, lease.slot = None, bundle.slot
        save_lease(lease)
        return
    space.leases.slots[bundle.slot] = bundle
    _write(space, bundle)


def erase(space: Space, lease: Lease) -> None:
    """A lease has ended: no row speaks of it any more, or none that counts."""
    bundle = lease.bundle
    if bundle is None:
        space.put(LEASES, slot_key(lease.slot), None)
        space.leases.free_slot(lease.slot)
        return
    lease.bundle = None
    bundle.left -= 1
    tidy(space, bundle)


def tidy(space: Space, bundle: Bundle) -> None:
    """The row goes when nothing is left of it, and shrinks when little is."""
    if not bundle.left:
        space.put(LEASES, slot_key(bundle.slot), None)
        space.leases.free_slot(bundle.slot)
    elif bundle.left * TIDY_SHARE <= len(bundle.ids):
        bundle.ids = [lease.id for lease in space.leases.bundled(bundle)]
        _write(space, bundle)


def _write(space: Space, bundle: Bundle) -> None:
    key = slot_key(bundle.slot)
    space.put(LEASES, key, pack_bundle(key, bundle.head, bundle.ids))
