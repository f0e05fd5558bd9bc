"""All mutants."""

from __future__ import annotations

from tests.mutants import of_jobs, of_storage, of_time
from tests.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    *of_jobs.ENQUEUE,
    *of_jobs.DELIVERY,
    *of_jobs.SETTLING,
    *of_time.COMMITS,
    *of_time.ALARMS,
    *of_time.RESTARTS,
    *of_time.CONNECTIONS,
    *of_storage.JOURNAL,
    *of_storage.OVERLAY,
)
"""By room: jobs, the turn, restarts, connections, the store."""
