"""The journal's part of a verification: whether it follows on what LMDB has."""

from __future__ import annotations

from pathlib import Path

from tenure_storage.findings import Findings
from tenure_storage.journal import JOURNAL_KEY, JOURNAL_NAME, unpack_journal_row, waiting_records
from tenure_storage.layout import Damaged
from tenure_storage.store import StoreError


def check_journal(packed: bytes | None, path: Path, findings: Findings) -> None:
    """`packed` is the row of the meta table. Confirmed changes that only the journal has are a note."""
    if packed is None:
        return
    try:
        row = unpack_journal_row(packed)
    except (Damaged, ValueError, TypeError):
        findings.error("journal", "meta", JOURNAL_KEY.decode(), "the row is damaged")
        return
    journal = path / JOURNAL_NAME
    if not journal.exists():
        if row.waiting_bytes:
            findings.error("journal", "", JOURNAL_NAME, "the file is missing after an unclean end")
        return
    try:
        waiting = waiting_records(journal, row)
    except StoreError as error:
        findings.error("journal", "", JOURNAL_NAME, str(error))
        return
    if waiting:
        what = f"it holds {waiting} confirmed changes that the next start applies"
        findings.note("journal", "", JOURNAL_NAME, what)
