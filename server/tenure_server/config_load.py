"""Reads the settings: file, then environment, then flags. Reports every problem, not only the first."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tenure_server.config import SECTIONS, SETTINGS, Config, Setting, contradictions

PREFIX = "TENURE_"
DEFAULT = "default"

# Variables of the client and the command line, and those that a container platform sets
# for a service that happens to be called "tenure": none of them is meant for us.
_NOT_OURS = re.compile(
    r"TENURE_(URL|CONFIG|DEBUG|TOKEN|CONTEXT|OUTPUT|NO_COLOR|.*SERVICE_(HOST|PORT)(_.*)?|(.*_)?PORT(_\d+_.*)?)"
)


class ConfigError(Exception):
    """The settings cannot be used. `problems` has one line for each thing to mend."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Loaded(NamedTuple):
    """A configuration, where each of its values came from, and what was odd but harmless."""

    config: Config
    sources: dict[str, str]
    warnings: list[str]


class _Given(NamedTuple):
    name: str
    value: object
    source: str


def load(
    *,
    file: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    flags: Mapping[str, object] | None = None,
) -> Loaded:
    """The configuration from `file`, `environ` and `flags` (setting name -> value), later ones first.

    Raises `ConfigError`.
    """
    problems: list[str] = []
    warnings: list[str] = []
    given: list[_Given] = []
    if file is not None:
        given += _from_file(file, problems)
    given += _from_environment(environ, problems, warnings)
    for name, value in (flags or {}).items():
        given.append(_Given(name, value, "--" + SETTINGS[name].key.replace("_", "-")))
    values: dict[str, Any] = {}
    sources = dict.fromkeys(SETTINGS, DEFAULT)
    for name, value, source in given:
        try:
            values[name] = SETTINGS[name].kind.parse(value)
            sources[name] = source
        except ValueError as error:
            problems.append(f"{source}: {name}: {error}")
    config = _build(values)
    if not problems:
        problems += [f"{sources[name]}: {name} {why}" for name, why in contradictions(config)]
    if problems:
        raise ConfigError(problems)
    return Loaded(config, sources, warnings)


def _build(values: Mapping[str, Any]) -> Config:
    parts: dict[str, dict[str, Any]] = {section: {} for section in ("", *SECTIONS)}
    for name, value in values.items():
        setting = SETTINGS[name]
        parts[setting.section][setting.attribute] = value
    sections = {section: owner(**parts[section]) for section, owner in SECTIONS.items()}
    return Config(**parts[""], **sections)


# ---- the file --------------------------------------------------------------------------


def _from_file(file: Path, problems: list[str]) -> Iterator[_Given]:
    try:
        text = file.read_text(encoding="utf-8")
        tree = tomllib.loads(text)
    except OSError as error:
        problems.append(f"{file}: cannot be read: {error.strerror or error}")
        return
    except (ValueError, RecursionError) as error:
        # Not only TOMLDecodeError: a number of thousands of digits, or brackets as deep as that.
        problems.append(f"{file}: is not TOML: {error}")
        return
    lines = _line_numbers(text)

    def where(name: str) -> str:
        return f"{file}:{lines[name]}" if name in lines else str(file)

    for key, value in tree.items():
        if key not in SECTIONS:
            yield from _known(key, value, where(key), problems)
        elif not isinstance(value, dict):
            problems.append(f"{where(key)}: {key}: expected a table, write [{key}]")
        else:
            for inner, each in value.items():
                name = f"{key}.{inner}"
                yield from _known(name, each, where(name), problems)


def _known(name: str, value: object, source: str, problems: list[str]) -> Iterator[_Given]:
    if name in SETTINGS:
        yield _Given(name, value, source)
    elif isinstance(value, dict):
        problems.append(f"{source}: unknown section [{name}]{_suggest(name, SECTIONS)}")
    else:
        problems.append(f"{source}: unknown setting {name}{_suggest(name, SETTINGS)}")


def _line_numbers(text: str) -> dict[str, int]:
    """Where each key is written. Good enough for messages: text inside long strings may fool it."""
    found: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\s*([\w.-]+)\s*\]", line):
            section = header[1] + "."
            found.setdefault(header[1], number)
        elif key := re.match(r"\s*\"?([\w-]+(?:\s*\.\s*[\w-]+)*)\"?\s*=", line):
            found.setdefault(section + re.sub(r"\s", "", key[1]), number)
    return found


# ---- the environment -------------------------------------------------------------------


def _from_environment(
    environ: Mapping[str, str], problems: list[str], warnings: list[str]
) -> Iterator[_Given]:
    by_variable: dict[str, Setting] = {each.variable: each for each in SETTINGS.values()}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX):
            continue
        if variable in by_variable:
            yield _Given(by_variable[variable].name, environ[variable], variable)
        elif not _NOT_OURS.fullmatch(variable):
            _judge_unknown(variable, by_variable, problems, warnings)


def _judge_unknown(
    variable: str, known: Iterable[str], problems: list[str], warnings: list[str]
) -> None:
    """A variable that looks like a setting of ours is a mistake; any other is left alone."""
    sections = tuple(f"{PREFIX}{section.upper()}_" for section in SECTIONS)
    suggestion = _suggest(variable, known)
    message = f"unknown environment variable {variable}{suggestion}"
    if suggestion or variable.startswith(sections):
        problems.append(message)
    else:
        warnings.append(message)


def _suggest(name: str, known: Iterable[str]) -> str:
    candidates = list(known)
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.7)
    if not close:
        # The right key in the wrong section: "connections" for "limits.connections".
        last = name.rpartition(".")[2]
        close = [each for each in candidates if each.rpartition(".")[2] == last][:1]
    return f"; did you mean {close[0]}?" if close else ""
