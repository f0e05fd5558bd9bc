"""A real broker beside the test: started, restarted, killed, and gone afterwards."""

from __future__ import annotations

import os

import pytest

from tenure import App, Client
from tenure.testing import ServerProcess

app = App("tenure://nowhere.invalid")


@app.task
def note(text: str) -> None:
    """Notes nothing."""


def test_apps_and_clients_talk_to_it(tenure_server: ServerProcess) -> None:
    handle = note.enqueue("a")
    with Client(tenure_server.url) as client:
        assert client.get(handle.id).task == "note"
    assert tenure_server.data_dir.is_dir()


async def test_asyncio_talks_to_it(tenure_server: ServerProcess) -> None:
    handle = await note.aenqueue("a")
    assert await handle.status() == "ready"


def test_what_it_confirmed_survives_its_death(tenure_server: ServerProcess) -> None:
    handle = note.enqueue("a")
    url, first = tenure_server.url, tenure_server.pid
    tenure_server.restart(kill=True)
    assert tenure_server.url == url
    assert tenure_server.pid != first
    assert handle.status() == "ready"
    tenure_server.stop()
    assert not tenure_server.running
    tenure_server.start()
    assert handle.status() == "ready"


def test_the_one_of_the_session_serves_apps_when_asked(
    tenure_server_session: ServerProcess,
) -> None:
    with tenure_server_session.serving_apps():
        note.using(queue="of-session").enqueue("a")
    with Client(tenure_server_session.url) as client:
        assert client.queue("of-session").jobs == 1


def test_the_one_of_the_session_is_still_there(tenure_server_session: ServerProcess) -> None:
    with Client(tenure_server_session.url) as client:
        assert client.queue("of-session").jobs == 1


def test_settings_of_the_developers_own_broker_do_not_matter(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("TENURE_LIMITS_QUEUES", "no number")
    monkeypatch.setenv("TENURE_URL", "tenure://elsewhere.invalid")
    server: ServerProcess = request.getfixturevalue("tenure_server")
    assert server.running


def test_a_broker_that_does_not_start_says_why(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = ServerProcess(tmp_path_factory.mktemp("broken"), "--no-such-option")
    with pytest.raises(RuntimeError, match="no-such-option"):
        server.start()
    assert not server.running


def test_no_process_is_left_behind(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = ServerProcess(tmp_path_factory.mktemp("short")).start()
    pid = server.pid
    assert server.kill() == -9
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(RuntimeError, match="does not run"):
        server.pid  # noqa: B018 - looking at it is the test
