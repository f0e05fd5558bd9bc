"""What people write: settings files, variables, durations, sizes, names, ids, URLs, policies."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from tenure.address import addresses_of
from tenure.codecs import codec_number
from tenure_protocol.durations import duration_ms, format_ms
from tenure_protocol.errors import BadRequest
from tenure_protocol.ids import decode_id, encode_id
from tenure_protocol.limits import TIME_MS_MAX
from tenure_protocol.names import check_queue_name
from tenure_server.config import SECTIONS, SETTINGS, Config
from tenure_server.config_load import ConfigError, load
from tests.fuzz.choices import Choices
from tests.fuzz.values import damaged_bytes
from tests.fuzz.world import Fault

PARTS = [
    "1", "0", "30s", "5m", "1h30m", "250ms", "7d", "64MiB", "1.5GiB", "auto", "off", "true", "127.0.0.1:7733",
    "[::1]:7733", "debug", "json", "memory", "'a'", '"64MiB"', "[1, 2]", '["fixed", 1, 0.5]',
    '["exponential", 1, 4.0, 2, 0.1]', '["steps", [1, 2], 0]', "nan", "inf", "-1", "1_000", "1e400", "9" * 30,
    "9" * 400, "9" * 5_000, "~nobody-of-that-name/x", "~/x", "\u0663\u0664", "\u00b2", "\u212a", "\0", "\u0130",
    "[" * 40, "[" * 3_000, "{a=1}", "1979-05-27", "1979-05-27T07:32:00Z", " ", "", "\n", "=", "#", "\ud800",
    "0x10", "0b1", "'''x", '"""', "\\", "tenure://a:1", ",", ":", "/", "www.example.org",
]  # fmt: skip


class _Text:
    """As much of a path as the settings need of a file."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def __str__(self) -> str:
        return "tenure.toml"

    def read_text(self, encoding: str) -> str:
        return self._text.decode(encoding)


def _words(choices: Choices) -> str:
    if choices.chance(20):
        return choices.take(choices.below(30)).decode("utf-8", "replace")
    return "".join(choices.pick(PARTS) for _ in range(1 + choices.pick([0, 0, 0, 1, 2])))


def settings(data: bytes) -> None:
    """Settings are read, or every problem is named; what is read can be shown and read again."""
    choices = Choices(data)
    lines: list[str] = []
    environ: dict[str, str] = {}
    flags: dict[str, object] = {}
    names = list(SETTINGS)
    for _ in range(1 + choices.below(4)):
        name, text = choices.pick(names), _words(choices)
        where = choices.below(4)
        if where == 0:
            environ[SETTINGS[name].variable] = text
        elif where == 1:
            flags[name] = text
        elif where == 2:
            section, _, key = name.rpartition(".")
            lines += [f"[{section}]"] * bool(section) + [f"{key} = {text}"]
        else:
            lines.append(
                choices.pick(
                    [*SECTIONS, "[x]", "[[limits]]", "limits = 1", "a.b = 1", _words(choices)]
                )
            )
    written = "\n".join(lines).encode("utf-8", "replace")
    if choices.chance(20):
        written = damaged_bytes(choices, written)
    try:
        loaded = load(file=cast(Path, _Text(written)), environ=environ, flags=flags)
    except ConfigError as error:
        if not error.problems or not all(error.problems):
            raise Fault("settings were refused without a reason") from error
        return
    if not isinstance(loaded.config, Config):
        raise Fault("settings that are none")
    for setting in SETTINGS.values():
        value = setting.value_in(loaded.config)
        shown = setting.kind.show(value)
        if type(shown) is not str:
            raise Fault(f"{setting.name} is shown as {shown!r}")


def kinds(data: bytes) -> None:
    """Each kind of setting takes any value of a file, or says what is allowed."""
    choices = Choices(data)
    setting = choices.pick(list(SETTINGS.values()))
    value: Any = choices.pick([
        _words(choices), choices.below(1 << 32), -1, 2**64, True, None, 1.5, math.inf, math.nan, 1e308, [], {},
        ["fixed", 1], [["fixed"]], "x" * 1_000, b"x", 10**400,
    ])  # fmt: skip
    try:
        parsed = setting.kind.parse(value)
    except ValueError as error:
        if not str(error):
            raise Fault(f"{setting.name}: refused without a reason") from error
        return
    setting.kind.show(parsed)


def names(data: bytes) -> None:
    """Durations, queue names, ids, URLs and codec names."""
    choices = Choices(data)
    text = _words(choices)
    _duration(choices, text)
    try:
        if check_queue_name(text) != text or not text.isascii() or len(text) > 128:
            raise Fault(f"{text!r} names a queue")
    except BadRequest:
        pass
    try:
        if encode_id(decode_id(text)) != text.lower():
            raise Fault(f"{text!r} is an id, and another one")
    except ValueError:
        pass
    with suppress(ValueError):
        codec_number(text)
    try:
        found = addresses_of("tenure://" + text)
    except ValueError:
        return
    if not all(1 <= each.port <= 65_535 and each.host for each in found):
        raise Fault(f"{text!r} is {found}")


def _duration(choices: Choices, text: str) -> None:
    given: Any = choices.pick(
        [text, text, choices.below(1 << 32), 1e308, math.inf, math.nan, -1, 0.0005]
    )
    try:
        found = duration_ms(given)
    except ValueError as error:
        if not str(error):
            raise Fault("a duration was refused without a reason") from error
        return
    if type(found) is not int or not 0 <= found <= TIME_MS_MAX:
        raise Fault(f"{given!r} is {found!r} ms")
    if not format_ms(found):
        raise Fault(f"{found} ms is shown as nothing")


def seeds() -> list[bytes]:
    """Inputs to begin with: each setting with each kind of text."""
    return [
        bytes((count, name, 0, part))
        for count in (0, 2)
        for name in range(0, 40, 5)
        for part in range(0, 50, 7)
    ]
