"""Every rule between rows, in the order in which one check needs what another has found."""

from __future__ import annotations

from tenure_storage.findings import Findings, View
from tenure_storage.verify_jobs import check_jobs, check_lanes, check_leases
from tenure_storage.verify_lines import Lines, check_chores, check_meta, check_queues
from tenure_storage.verify_links import (
    check_due,
    check_ended,
    check_notes,
    check_producers,
    check_states,
    check_unique,
)


def check_rows(view: View, findings: Findings, *, empty: bool) -> None:
    """Adds to `findings` what is wrong with the rows of a store.

    `empty`: it has no rows but those of the meta table, so that even these may be missing.
    """
    lines = Lines()
    check_queues(view, findings, lines)
    check_chores(view, findings, lines)
    leased = check_leases(view, findings, lines)
    waiting = check_jobs(view, findings, lines, leased)
    check_lanes(view, findings, lines, waiting)
    check_states(view, findings, lines)
    ended = check_ended(view, findings, lines)
    check_unique(view, findings, lines)
    check_due(view, findings)
    check_producers(view, findings)
    check_notes(view, findings)
    check_meta(view, findings, lines, ended, empty=empty)
