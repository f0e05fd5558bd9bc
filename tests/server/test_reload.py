"""SIGHUP: what can change changes, what cannot is named, and a bad file changes nothing."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tenure_server.config_load import Loaded, load
from tests.server.support import PATIENCE_S, Running, Wire, process, running


class Settings:
    """What the broker finds when it reads its settings again."""

    def __init__(self) -> None:
        self.flags: dict[str, object] = {"ephemeral": True}

    def __call__(self) -> Loaded:
        return load(environ={}, flags=self.flags)


def reloaded(broker: Running) -> None:
    """Lets the broker read its settings again, as SIGHUP does."""
    before = broker.hub.reloads
    broker.broker.reload()
    assert broker.hub.reloads == before + 1


async def test_live_settings_hold_for_what_comes_after() -> None:
    settings = Settings()
    async with running(load_again=settings) as broker:
        first = await broker.hello()
        settings.flags |= {"limits.connections": 1, "timeouts.idle": "33s"}

        reloaded(broker)

        refused = await Wire.connect(broker.port)
        assert (await refused.fatal())[0] == "TOO_MANY_CONNECTIONS"
        assert "now_ms" in await first.do("ping", [])
        first.close()
        await broker.until(lambda: not broker.hub.connections)
        again = await Wire.connect(broker.port)
        result = await again.do("hello", {"protocol": [1, 1], "client": "test"})
        assert result["idle_timeout_ms"] == 33_000


async def test_new_queues_get_the_reloaded_defaults_and_old_ones_keep_theirs() -> None:
    settings = Settings()
    async with running(load_again=settings) as broker:
        wire = await broker.hello()
        await wire.do("queue.create", {"queue": "old"})
        settings.flags |= {"queues.lease": "7s", "queues.max_attempts": 2, "limits.queues": 2}

        reloaded(broker)

        new = await wire.do("queue.create", {"queue": "new"})
        assert (new["settings"]["lease_ms"], new["settings"]["max_attempts"]) == (7_000, 2)
        old = await wire.do("queue.get", {"queue": "old"})
        assert (old["settings"]["lease_ms"], old["settings"]["max_attempts"]) == (30_000, 5)
        status, error = await wire.ask("queue.create", {"queue": "third"})
        assert (status, error[0]) == (1, "TOO_MANY_QUEUES")


async def test_a_connection_keeps_the_idle_time_it_was_promised() -> None:
    settings = Settings()
    async with running(load_again=settings) as broker:
        wire = await broker.hello()
        settings.flags["timeouts.idle"] = "1s"

        reloaded(broker)
        broker.advance(60_000)

        assert "now_ms" in await wire.do("ping", [])


async def test_settings_that_need_a_restart_are_named_and_not_applied(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = Settings()
    async with running(load_again=settings) as broker:
        settings.flags |= {"limits.payload_bytes_max": 5, "limits.connections": 50}

        reloaded(broker)

        assert broker.hub.config.limits.payload_bytes_max == 1024 * 1024
        assert broker.hub.config.limits.connections == 50
        log = capsys.readouterr().err
        assert '"event": "setting_needs_restart", "setting": "limits.payload_bytes_max"' in log
        assert '"event": "setting_changed", "setting": "limits.connections"' in log
        assert broker.hub.counters.reload_ok == 1


async def test_a_bad_configuration_is_refused_whole_and_the_old_one_stays(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = Settings()
    async with running(load_again=settings) as broker:
        settings.flags |= {"limits.connections": 50, "timeouts.idle": "never"}

        reloaded(broker)

        assert broker.hub.config.limits.connections == 10_000
        assert broker.hub.counters.reload_ok == 0
        assert "timeouts.idle: expected a duration" in capsys.readouterr().err
        del settings.flags["timeouts.idle"]
        reloaded(broker)
        assert broker.hub.config.limits.connections == 50
        assert broker.hub.counters.reload_ok == 1


async def test_the_process_reloads_its_file_and_tells_its_service_manager(place: Path) -> None:
    file = place / "tenure.toml"
    file.write_text("[limits]\nconnections = 100\n")
    with process(place, "--config", str(file)) as broker:
        file.write_text("[limits]\nconnections = 1\n")
        broker.signal(signal.SIGHUP)
        told = broker.told("READY=1")
        assert told[0].startswith("RELOADING=1\nMONOTONIC_USEC=")

        wire = await Wire.hello(broker.ports["listen"][1])
        refused = await Wire.connect(broker.ports["listen"][1])
        assert (await refused.fatal())[0] == "TOO_MANY_CONNECTIONS"

        file.write_text("[limits]\nconections = 5\n")
        broker.signal(signal.SIGHUP)
        broker.told("READY=1")
        line = broker.logged("reload_refused")
        assert "did you mean limits.connections?" in line["problem"]
        assert f"{file}:2" in line["problem"]
        assert "now_ms" in await wire.do("ping", [])
        wire.close()


async def test_usr2_logs_stacks_and_figures_and_the_broker_goes_on(place: Path) -> None:
    with process(place) as broker:
        wire = await Wire.hello(broker.ports["listen"][1])

        broker.signal(signal.SIGUSR2)

        async with asyncio.timeout(PATIENCE_S):
            while not any(line.get("event") == "dump" for line in broker.log()):
                await wire.do("ping", [])
        line = broker.logged("dump")
        assert "tenure-writer" in line["stacks"]
        assert "'connections': 1" in line["stats"]
        assert "now_ms" in await wire.do("ping", [])
        wire.close()
