"""What a client tells of many requests when the network leaves some of them open."""

from __future__ import annotations

import pytest

from tenure import NewJob, QueueFull, Reconnect, RequestTimeout
from tests.client.both import CONNECTORS
from tests.client.fake_broker import FakeBroker, Peer

QUICK = Reconnect(base_ms=1, cap_ms=5)


@pytest.mark.parametrize("kind", sorted(CONNECTORS))
def test_a_refused_chunk_does_not_hide_that_the_end_of_another_is_unknown(kind: str) -> None:
    def refuses_one_and_is_silent_on_the_other(peer: Peer) -> None:
        peer.hello()
        peer.reply(peer.expect("ping"), {"now_ms": 0})
        peer.refuse(peer.expect("enqueue"), QueueFull("full"))
        peer.until_gone()

    with (
        FakeBroker(refuses_one_and_is_silent_on_the_other) as broker,
        CONNECTORS[kind](broker.url, timeout="300ms", reconnect=QUICK) as client,
        pytest.raises(RequestTimeout),
    ):
        client.enqueue_many("mail", [NewJob("one"), NewJob("other")], chunk_jobs=1)
