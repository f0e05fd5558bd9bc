"""The documents against the code: links, operations, errors, exit codes, settings and messages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from tenure.cli.app import cli
from tenure.cli.commands import global_options
from tenure_protocol.errors import CODES
from tenure_server import exits
from tenure_server.config import SETTINGS
from tenure_server.counters import OPERATIONS as COUNTED
from tenure_server.engine import OPERATIONS as OF_THE_ENGINE
from tenure_server.operations import OPERATIONS as OF_THE_SHELL

ROOT = Path(__file__).resolve().parents[2]
VARIABLES_OF_THE_CLIENT = {"TENURE_URL", "TENURE_CONFIG", "TENURE_OUTPUT", "TENURE_DEBUG"}
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "protocol/*.md", "bench/*.md", "deploy/*.md")
    for path in ROOT.glob(pattern)
)
OPERATIONS_GUIDE = ROOT / "docs/operations.md"
PROTOCOL = ROOT / "protocol/PROTOCOL.md"


def text_of(path: Path) -> str:
    """A document's text."""
    return path.read_text("utf-8")


def section(path: Path, heading: str) -> str:
    """The text below a heading of the second level."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text_of(path), re.M | re.S)
    assert found, f"{path.name} has no section {heading!r}"
    return found[1]


def first_column(table: str) -> list[str]:
    """The first cells of the rows of a table, without its head."""
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    return [row.split(" | ")[0].removeprefix("| ").strip() for row in rows if "---" not in row][1:]


def anchor(heading: str) -> str:
    """The name by which a heading is linked to."""
    kept = re.sub(r"[^\w\- ]", "", heading.lower().replace("`", ""))
    return kept.strip().replace(" ", "-")


def links_of(path: Path) -> Iterator[str]:
    """The targets of the links of a document, within the repository."""
    prose = re.sub(r"^```.*?^```", "", text_of(path), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if not re.match(r"[a-z]+:", target):
            yield target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for target in links_of(path):
        name, _, fragment = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists():
            broken.append(target)
        elif fragment and file.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", text_of(file), re.M)
            if fragment not in map(anchor, headings):
                broken.append(target)
    assert not broken


def test_every_decision_is_in_the_list_of_decisions() -> None:
    pages = {path.name for path in (ROOT / "docs/decisions").glob("[0-9]*.md")}
    assert set(links_of(ROOT / "docs/decisions/README.md")) == pages


def test_the_protocol_document_names_the_operations_that_there_are() -> None:
    text = section(PROTOCOL, "5. Operations")
    tables = re.findall(r"^\| operation \|.*?\n\n", text, re.M | re.S)
    cells = [cell for table in tables for cell in first_column(table)]
    documented = {"hello"}  # has a section of its own
    documented.update(re.findall(r"\*\*`([a-z.]+)`\*\*", text))
    documented.update(name for cell in cells for name in re.findall(r"`([a-z.]+)`", cell))
    assert documented == OF_THE_ENGINE.keys() | OF_THE_SHELL.keys()
    assert set(COUNTED) == documented


def test_the_protocol_document_names_the_errors_that_there_are() -> None:
    assert {
        cell.strip("`") for cell in first_column(section(PROTOCOL, "8. Errors"))
    } == CODES.keys()


def test_the_guide_names_the_exit_codes_that_there_are() -> None:
    codes = {
        value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)
    }
    assert {int(cell) for cell in first_column(section(OPERATIONS_GUIDE, "Exit codes"))} == codes


def test_the_guide_names_settings_that_there_are() -> None:
    sections = {name.partition(".")[0] for name in SETTINGS if "." in name}
    named = re.findall(rf"`((?:{'|'.join(sections)})\.[a-z_]+)`", text_of(OPERATIONS_GUIDE))
    assert named
    assert not set(named) - SETTINGS.keys()


@cache
def literals() -> str:
    """Every text that the product can put into a message, the values in it as "…"."""
    found = []
    for room in ("client", "protocol", "server", "storage"):
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.JoinedStr):
                    parts = (
                        str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values
                    )
                    found.append("".join(parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\0".join(found)


@pytest.mark.parametrize("cell", first_column(section(OPERATIONS_GUIDE, "Troubleshooting")))
def test_the_guide_quotes_messages_as_they_are(cell: str) -> None:
    for message in re.findall(r"`([^`]+)`", cell):
        for part in message.split("…"):
            assert part.strip(" :;,") in literals(), part


@pytest.mark.parametrize("cell", first_column(section(OPERATIONS_GUIDE, "Logs")))
def test_the_guide_names_log_events_as_they_are(cell: str) -> None:
    for event in re.findall(r"`([^`]+)`", cell):
        assert f"\0{event}\0" in literals(), event


def test_variables_named_anywhere_are_settings() -> None:
    known = {setting.variable for setting in SETTINGS.values()} | VARIABLES_OF_THE_CLIENT
    files = [*DOCUMENTS, ROOT / "Dockerfile", *(ROOT / "deploy").rglob("*.*")]
    named = {
        name
        for path in files
        for name in re.findall(r"\bTENURE_[A-Z_]*[A-Z]\b(?!_)", text_of(path))
        if name != "TENURE_SECTION_NAME"  # stands for all of them
    }
    assert {"TENURE_URL", "TENURE_LISTEN"} <= named
    assert not named - known


def command_lines() -> Iterator[str]:
    """Every `tenure ...` in the code of the documents and in the deployment's files."""
    for path in DOCUMENTS:
        for block, inline in re.findall(
            r"^```\w+\n(.*?)^```|`([^`\n]+)`", text_of(path), re.M | re.S
        ):
            code = block or inline
            yield from re.findall(
                r"^(?:\$ )?(?:/opt/tenure/bin/)?(tenure [a-z-][^#\n]*)", code, re.M
            )
    unit = text_of(ROOT / "deploy/systemd/tenure.service")
    yield from re.findall(r"^ExecStart=/opt/tenure/bin/(.*)$", unit, re.M)
    image = text_of(ROOT / "Dockerfile")
    for words in re.findall(r"^(?:HEALTHCHECK .*)?CMD \[(.*)\]$", image, re.M):
        yield "tenure " + words.replace('", "', " ").strip('"').removeprefix("tenure ")


@pytest.mark.parametrize("line", sorted(set(command_lines())))
def test_commands_named_anywhere_can_be_given(line: str) -> None:
    command: click.Command = cli
    options = {option for each in global_options() for option in each.opts}
    for word in line.split()[1:]:
        context = click.Context(command)
        if isinstance(command, click.Group) and not word.startswith("-"):
            found = command.get_command(context, word)
            assert found is not None, f"there is no {word!r} in {line!r}"
            command = found
        elif word.startswith("-") and word != "-":
            known = options | {
                o for each in command.params for o in (*each.opts, *each.secondary_opts)
            }
            assert word.partition("=")[0] in known, f"there is no {word!r} in {line!r}"


def test_the_documents_name_make_targets_that_there_are() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", text_of(ROOT / "Makefile"), re.M))
    named = {
        target
        for path in DOCUMENTS
        for code in re.findall(r"`([^`\n]+)`|^\$ (.*)$", text_of(path), re.M)
        for target in re.findall(r"^make ([a-z-]+)", "".join(code))
    }
    assert {"demo", "test", "bench"} <= named
    assert not named - targets
