"""The settings as text: the effective configuration with its sources, and what a reload would change."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import NamedTuple

from tenure_server.config import SETTINGS, Config


def show(config: Config, sources: Mapping[str, str]) -> str:
    """`config` as TOML that reads back the same, each line with the source of its value."""
    lines: list[str] = []
    for section, settings in groupby(SETTINGS.values(), key=lambda each: each.section):
        if section:
            lines += ["", f"[{section}]"]
        for setting in settings:
            text = f"{setting.key} = {setting.kind.show(setting.value_in(config))}"
            lines.append(f"{text:<48}# {sources[setting.name]}")
    return "\n".join(lines) + "\n"


class Change(NamedTuple):
    """A setting that differs between two configurations, and whether a reload applies it."""

    name: str
    old: str
    new: str
    live: bool


def changes(old: Config, new: Config) -> list[Change]:
    """What differs from `old` to `new`."""
    return [
        Change(
            setting.name,
            setting.kind.show(setting.value_in(old)),
            setting.kind.show(setting.value_in(new)),
            setting.live,
        )
        for setting in SETTINGS.values()
        if setting.value_in(old) != setting.value_in(new)
    ]
