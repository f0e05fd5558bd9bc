"""Metrics that alerts and the operator's guide rely on are the ones a broker exports."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest

from tenure import Client
from tests.support.broker_process import BrokerProcess

ROOT = Path(__file__).resolve().parents[2]
USERS = ("deploy/prometheus/alerts.yaml", "docs/operations.md")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """The names of all series of a broker with one queue."""
    with BrokerProcess(tmp_path_factory.mktemp("broker"), http="127.0.0.1:0") as broker:
        with Client(broker.url) as client:
            client.enqueue("mail", "send")
        assert broker.http is not None
        address = "http://{}:{}/metrics".format(*broker.http)
        with urllib.request.urlopen(address, timeout=30) as answer:
            text = answer.read().decode()
    # A series that has no values yet still has its type.
    return frozenset(re.findall(r"^(?:# TYPE )?([a-z_]+)[{ ]", text, re.MULTILINE))


@pytest.mark.parametrize("user", USERS)
def test_named_metrics_are_exported(user: str, exported: frozenset[str]) -> None:
    named = set(re.findall(r"\btenure_[a-z_]+", (ROOT / user).read_text("utf-8")))
    # A histogram is named without the suffixes that its series have.
    known = exported | {re.sub(r"_(bucket|sum|count)$", "", name) for name in exported}
    assert len(named) > 10
    assert sorted(named - known) == []
