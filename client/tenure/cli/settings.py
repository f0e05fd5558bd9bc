"""Queue settings and retry policies as typed on a command line, and as shown to people.

lease=30s max_attempts=8 retry=exponential:1s,4,1h priority=high max_bytes=2GiB dlq=off
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import NamedTuple, cast

from tenure.cli.errors import CliError, Exit, did_you_mean
from tenure.cli.human import count, duration, parse_size, size
from tenure.options import QueueSettings
from tenure.retry import Retry
from tenure_protocol.durations import duration_ms
from tenure_protocol.limits import PRIORITY_MAX
from tenure_protocol.names import PRIORITIES
from tenure_protocol.retry import JITTER_DEFAULT

MEMORY_NOTE = "memory: lost at restart"
"""What is shown wherever a queue of memory durability is."""

_TRUE = {"on", "yes", "true", "1"}
_FALSE = {"off", "no", "false", "0"}


class Setting(NamedTuple):
    """One setting: how it is sent, read, shown and explained."""

    wire: str
    parse: Callable[[str, str], object]
    show: Callable[[object], str]
    help: str


def _parse_switch(text: str, name: str) -> bool:
    lowered = text.lower()
    if lowered not in _TRUE | _FALSE:
        raise ValueError(f"{name} must be on or off, not {text!r}")
    return lowered in _TRUE


def _parse_count(text: str, name: str) -> int:
    if not text.isdecimal() or not text.isascii():
        raise ValueError(f"{name} must be a whole number, not {text!r}")
    return int(text)


def parse_priority(text: str, name: str = "priority") -> int:
    """0..255, or one of the named priorities. Raises `ValueError`."""
    if text.lower() in PRIORITIES:
        return PRIORITIES[text.lower()]
    if not text.isdecimal() or int(text) > PRIORITY_MAX:
        names = ", ".join(f"{word}={number}" for word, number in PRIORITIES.items())
        raise ValueError(f"{name} must be 0 (first) to {PRIORITY_MAX}, or {names}; not {text!r}")
    return int(text)


def _parse_durability(text: str, name: str) -> str:
    if text not in ("disk", "memory"):
        raise ValueError(f"{name} must be disk or memory (lost at restart), not {text!r}")
    return text


def parse_span(text: str, name: str) -> timedelta:
    """A duration such as "30s" or "1h30m". Raises `ValueError`."""
    return timedelta(milliseconds=duration_ms(text, name))


def parse_retry(text: str, name: str = "retry") -> Retry:
    """A retry policy from "exponential:1s,4,1h", "fixed:30s" or "steps:1s,1m".

    `jitter=0.1` may stand at the end. Raises `ValueError`.
    """
    kind, _, rest = text.partition(":")
    parts = [part.strip() for part in rest.split(",")] if rest else []
    jitter = JITTER_DEFAULT
    if parts and parts[-1].startswith("jitter="):
        jitter = _number(parts.pop().removeprefix("jitter="), f"the jitter of {name}")
    match kind, parts:
        case "exponential", []:
            return Retry(jitter=jitter)
        case "exponential", [base, *others] if len(others) <= 2:
            factor = _number(others[0], f"the factor of {name}") if others else 4
            cap = others[1] if len(others) > 1 else "1h"
            return Retry(base=base, factor=factor, cap=cap, jitter=jitter)
        case "fixed", [delay]:
            return Retry.fixed(delay, jitter=jitter)
        case "steps", [_, *_]:
            return Retry.steps(parts, jitter=jitter)
    raise ValueError(
        f"{name} {text!r} is not a retry policy: write exponential:BASE,FACTOR,CAP, fixed:DELAY"
        " or steps:D1,D2,… (each may end in ,jitter=0.2)"
    )


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number, not {text!r}") from None


def show_retry(value: object) -> str:
    """A policy in the words that `parse_retry` reads, from the way it travels."""
    if not isinstance(value, (list, tuple)):
        return str(value)
    match list(value):
        case ["exponential", int(base), factor, int(cap), jitter]:
            text = f"exponential:{duration(base)},{factor:g},{duration(cap)}"
        case ["fixed", int(delay), jitter]:
            text = f"fixed:{duration(delay)}"
        case ["steps", delays, jitter]:
            text = "steps:" + ",".join(duration(delay) for delay in delays)
        case _:
            return str(value)
    return text if jitter == JITTER_DEFAULT else f"{text},jitter={jitter:g}"


def _show_count(value: object) -> str:
    return count(value) if isinstance(value, int) else str(value)


def _show_limit(value: object) -> str:
    return "no limit" if not value else _show_count(value)


def _show_bytes_limit(value: object) -> str:
    return size(value) if isinstance(value, int) and value else "no limit"


def _show_ms(value: object) -> str:
    return duration(value) if isinstance(value, int) else str(value)


def _show_kept(value: object) -> str:
    return _show_ms(value) if value else "not kept"


def _show_dead_kept(value: object) -> str:
    return _show_ms(value) if value else "until purged"


def _show_switch(value: object) -> str:
    return "on" if value else "off"


def show_durability(value: object) -> str:
    """The durability with what it means."""
    return MEMORY_NOTE if value == "memory" else "disk: fsynced before every confirmation"


def _show_priority(value: object) -> str:
    names = {number: name for name, number in PRIORITIES.items()}
    return f"{value} ({names[value]})" if isinstance(value, int) and value in names else str(value)


SETTINGS: dict[str, Setting] = {
    "lease": Setting("lease_ms", parse_span, _show_ms, "how long a worker holds a job"),
    "max_attempts": Setting(
        "max_attempts", _parse_count, _show_count, "tries before a job is dead"
    ),
    "retry": Setting("retry", parse_retry, show_retry, "the pauses between tries, see below"),
    "priority": Setting(
        "priority", parse_priority, _show_priority, "of jobs that name none; 0 first"
    ),
    "max_jobs": Setting(
        "max_jobs", _parse_count, _show_limit, "jobs it holds at most; 0: no limit"
    ),
    "max_bytes": Setting("max_bytes", parse_size, _show_bytes_limit, "their size; 0: no limit"),
    "retention": Setting(
        "retention_ms", parse_span, _show_kept, "how long succeeded jobs and results are kept"
    ),
    "ended_retention": Setting(
        "ended_retention_ms", parse_span, _show_kept, "how long cancelled and expired jobs are kept"
    ),
    "dead_retention": Setting(
        "dead_retention_ms",
        parse_span,
        _show_dead_kept,
        "how long dead jobs are kept; 0: until purged",
    ),
    "dlq": Setting("dlq", _parse_switch, _show_switch, "keep dead jobs in a dead-letter queue"),
    "poison_after": Setting(
        "poison_after", _parse_count, _show_limit, "lost workers before a job is dead; 0: never"
    ),
    "durability": Setting(
        "durability", _parse_durability, show_durability, "disk or memory; fixed at creation"
    ),
    "paused": Setting("paused", _parse_switch, _show_switch, "deliver nothing for now"),
}
"""Every setting of a queue under the name it has on the command line."""


def parse_settings(words: Iterable[str]) -> QueueSettings:
    """Settings as the client takes them, from `name=value` words.

    The names with their unit (`lease_ms=30000`) are read too, as JSON output shows them.
    Raises `CliError` (usage) that names the word and what is allowed.
    """
    found: dict[str, object] = {}
    for word in words:
        given, equals, value = word.partition("=")
        name = given.removesuffix("_ms")
        setting = SETTINGS.get(name)
        if not equals or setting is None or (given != name and given != setting.wire):
            raise CliError(_not_a_setting(word, given, bool(equals)), Exit.USAGE)
        if name in found:
            raise CliError(f'setting "{name}" is given twice', Exit.USAGE)
        try:
            found[name] = setting.parse(value if given == name else f"{value}ms", given)
        except ValueError as error:
            raise CliError(str(error), Exit.USAGE) from None
    return cast(QueueSettings, found)


def _not_a_setting(word: str, name: str, has_value: bool) -> str:
    if not has_value:
        return f'"{word}" is not a setting: write name=value, such as lease=30s'
    return f'no setting "{name}"{did_you_mean(name, SETTINGS) or "; there are: " + ", ".join(SETTINGS)}'


def show_settings(settings: Mapping[str, object]) -> list[tuple[str, str]]:
    """Every setting with its value for people; ones of a newer broker as they are."""
    rows = [
        (name, setting.show(settings[setting.wire]))
        for name, setting in SETTINGS.items()
        if setting.wire in settings
    ]
    known = {setting.wire for setting in SETTINGS.values()}
    return rows + [(name, str(value)) for name, value in settings.items() if name not in known]


def settings_help() -> str:
    """The list of settings for the help of `queue create` and `queue set`."""
    width = max(map(len, SETTINGS)) + 2
    return "\n".join(f"  {name:<{width}}{setting.help}" for name, setting in SETTINGS.items())
