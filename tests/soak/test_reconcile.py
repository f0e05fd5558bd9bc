"""The audit finds what the broker shows and should not, and what it should show and does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tenure import Client
from tenure.info import job_info
from tenure_protocol.ids import decode_id
from tests.soak.ledger import Ledger
from tests.soak.reconcile import Shown, look, reconcile
from tests.soak.test_ledger import LIFE, line, send, sent
from tests.support.broker_process import BrokerProcess

WALL_MS = 1e12


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with BrokerProcess(tmp_path) as broker, Client(broker.url) as client:
        yield client


def put(client: Client, ledger: Ledger, key: str, **options: Any) -> str:
    """A job that the broker and the ledger know."""
    job_id = str(client.enqueue("mixed", "work", b"", headers={"k": key}, **options))
    ledger.tell(send(1, key))
    ledger.tell(sent(1.1, key, job_id))
    return job_id


def audit(client: Client, ledger: Ledger) -> list[str]:
    reconcile(ledger, look(client), client, 10.0, 0.0)
    return [violation.split(":")[0] for violation in ledger.violations]


def test_what_is_where_it_should_be_is_no_violation(client: Client) -> None:
    ledger = Ledger()
    put(client, ledger, "p1-1")
    put(client, ledger, "p1-2", delay="1h")
    put(client, ledger, "p1-3")
    client.reserve("mixed")

    assert audit(client, ledger) == []
    assert ledger.counts["jobs audited"] == 3


def test_a_job_that_is_gone_is_lost(client: Client) -> None:
    ledger = Ledger()
    put(client, ledger, "p1-1")
    client.purge_queue("mixed")

    assert audit(client, ledger) == ["nothing lost"]


def test_a_job_that_may_have_been_acked_may_be_gone(client: Client) -> None:
    ledger = Ledger()
    job_id = put(client, ledger, "p1-1")
    [job] = client.reserve("mixed")
    client.ack(job)
    ledger.tell(line("settle", 2, id=job_id, n=1, how="ack"))

    assert audit(client, ledger) == []
    assert ledger.open_jobs() == []


def test_a_dead_letter_that_is_gone_is_lost(client: Client) -> None:
    ledger = Ledger()
    job_id = put(client, ledger, "p1-1")
    [job] = client.reserve("mixed")
    client.fail(job, "on purpose", dead=True)
    assert audit(client, ledger) == []
    client.purge_dead("mixed", ids=[job_id])

    assert audit(client, ledger) == ["nothing lost"]


def test_a_job_that_nobody_sent_comes_from_nowhere(client: Client) -> None:
    client.enqueue("mixed", "work", b"", headers={"k": "p1-1"})

    assert audit(client, Ledger()) == ["nothing from nowhere"]


def test_a_job_that_is_there_twice_is_doubled(client: Client) -> None:
    ledger = Ledger()
    put(client, ledger, "p1-1")
    client.enqueue("mixed", "work", b"", headers={"k": "p1-1"})

    assert audit(client, ledger) == ["no doubles"]


def test_an_end_that_was_confirmed_must_not_be_undone(client: Client) -> None:
    ledger = Ledger()
    job_id = put(client, ledger, "p1-1")
    ledger.tell(line("ended", 2, id=job_id, how="succeeded"))

    assert audit(client, ledger) == ["no confirmed end undone"]


def test_an_enqueue_of_unknown_outcome_is_settled_by_looking(client: Client) -> None:
    ledger = Ledger()
    ledger.tell(send(1, "p1-1"))
    ledger.tell(send(1, "p1-2"))
    ledger.tell(send(1, "p1-3"))
    ledger.tell(line("unknown", 2, keys=["p1-1", "p1-2"]))
    client.enqueue("mixed", "work", b"", headers={"k": "p1-1"})

    assert audit(client, ledger) == []
    assert list(ledger.jobs) == ["p1-1", "p1-3"], "the third may still be on its way"


def test_a_lease_that_does_not_end_is_stuck(client: Client) -> None:
    ledger = Ledger()
    put(client, ledger, "p1-1")
    client.reserve("mixed")
    shown = look(client)

    reconcile(ledger, shown, client, 10.0, 4e12)

    assert [violation.split(":")[0] for violation in ledger.violations] == ["nothing stuck"]


def test_counts_that_differ_from_the_contents_are_told(client: Client) -> None:
    ledger = told_life()

    reconcile(
        ledger, Shown(faults=["mixed counts 2 ready jobs and lists 1"]), client, 10.0, WALL_MS
    )

    assert ledger.violations == ["counts equal contents: mixed counts 2 ready jobs and lists 1"]


def test_a_job_that_expired_without_a_reason_was_dropped(client: Client) -> None:
    ledger = Ledger()
    job_id = put(client, ledger, "p1-1")
    info = job_info({"id": decode_id(job_id), "queue": "mixed", "state": "expired"})

    reconcile(ledger, Shown(jobs={job_id: info}), client, 10.0, WALL_MS)

    assert [violation.split(":")[0] for violation in ledger.violations] == ["nothing dropped"]


def told_life() -> Ledger:
    ledger = Ledger()
    for one in LIFE:
        ledger.tell(one)
    return ledger
