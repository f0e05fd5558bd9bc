"""SIGHUP: reads the settings again and applies what can change while running, or refuses them whole."""

from __future__ import annotations

from collections.abc import Callable

from tenure_server import log
from tenure_server.clock import mono_us
from tenure_server.config import with_live_settings
from tenure_server.config_load import ConfigError, Loaded
from tenure_server.config_show import changes
from tenure_server.hub import Hub
from tenure_server.listener import connections_within_files
from tenure_server.notify import notify


def reload(hub: Hub, load: Callable[[], Loaded]) -> bool:
    """Applies the settings that `load` finds now; whether they were accepted.

    A bad configuration changes nothing. Settings that need a restart are named in the log.
    """
    hub.reloads += 1
    notify(f"RELOADING=1\nMONOTONIC_USEC={mono_us()}")
    try:
        new = load().config
    except ConfigError as error:
        for problem in error.problems:
            log.get_log().error("reload_refused", problem=problem)
        hub.counters.reload_ok = 0
        return False
    finally:
        notify("READY=1")
    found = changes(hub.config, new)
    config = with_live_settings(hub.config, new)
    log.configure(level=config.log.level, style=config.log.format)
    hub.reconfigure(config, connections_within_files(config.limits.connections))
    hub.counters.reload_ok = 1
    for change in found:
        if change.live:
            log.get_log().info(
                "setting_changed", setting=change.name, old=change.old, new=change.new
            )
        else:
            log.get_log().warning(
                "setting_needs_restart", setting=change.name, running=change.old, wanted=change.new
            )
    log.get_log().info(
        "reloaded",
        changed=sum(change.live for change in found),
        need_restart=sum(not change.live for change in found),
    )
    return True
