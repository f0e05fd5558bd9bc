"""Help, completion and start-up: worth reading, complete, and quick."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from tenure.cli.app import SECTIONS, cli
from tenure.cli.completion import SHELLS
from tests.cli.fakes import FakeClient, make_queue, run

COMMANDS = {
    "": ["server", "ping", "status", "top", "drain", "enqueue", "version", "completion"],
    "job": ["get", "ls", "cancel", "wait"],
    "queue": ["ls", "get", "create", "set", "pause", "resume", "purge", "rm", "peek"],
    "dlq": ["ls", "groups", "get", "replay", "purge"],
    "chore": ["ls", "get", "cancel"],
    "workers": ["ls", "get", "quiet", "resume", "stop", "stacks"],
    "store": ["verify", "info", "compact"],
    "backup": ["create", "restore"],
}


def all_commands() -> Iterator[tuple[list[str], click.Command]]:
    context = click.Context(cli, info_name="tenure")
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        yield [name], command
        if isinstance(command, click.Group):
            for inner in command.list_commands(context):
                found = command.get_command(context, inner)
                assert found is not None
                yield [name, inner], found


def in_fresh_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_tree_is_complete() -> None:
    found = {" ".join(path) for path, _ in all_commands()}

    for group, names in COMMANDS.items():
        assert {f"{group} {name}".strip() for name in names} <= found


def test_the_help_lists_every_command_in_sections_with_examples_and_exit_codes() -> None:
    result = run("--help")

    assert result.exit_code == 0
    for title, entries in SECTIONS.items():
        assert f"{title}:" in result.stdout
        for name, entry in entries.items():
            assert f"{name} " in result.stdout
            assert entry.help in result.stdout
    assert result.stdout.count("\n    tenure ") == 3
    assert "69 no broker" in result.stdout


@pytest.mark.parametrize(("path", "command"), list(all_commands()), ids=lambda it: str(it)[:40])
def test_every_command_explains_itself_and_each_of_its_options(
    path: list[str], command: click.Command
) -> None:
    result = run(*path, "--help")

    assert result.exit_code == 0
    assert command.help
    for param in command.params:
        if isinstance(param, click.Option) and not param.hidden:
            assert param.help or param.name in ("which", "state", "limit"), param.name


def test_help_works_with_the_short_option_and_tenure_alone_shows_it() -> None:
    assert run("-h").exit_code == 0
    assert "Usage: tenure" in run().stderr
    assert run().exit_code == 2


def test_every_command_but_those_that_stay_takes_the_global_options() -> None:
    for path, command in all_commands():
        if path in (["server"], ["worker"], ["dev"]):
            continue
        names = {opt for param in command.params for opt in param.opts}

        assert {"--url", "--timeout", "-o", "--no-color", "-q"} <= names, path


def test_help_and_version_import_neither_rich_nor_the_daemon_nor_asyncio() -> None:
    code = """
import sys
from tenure.cli import main
for words in (["--help"], ["version"]):
    try:
        main(words)
    except SystemExit as end:
        assert not end.code, end.code
heavy = {"rich", "asyncio", "lmdb", "tenure_server", "tenure_storage", "difflib"}
print(sorted(heavy & set(sys.modules)), file=sys.stderr)
assert not heavy & set(sys.modules)
"""
    assert "Usage: tenure" in in_fresh_python(code)


def test_a_command_imports_only_its_own_modules() -> None:
    code = """
import sys
from tenure.cli import main
try:
    main(["ping", "--help"])
except SystemExit:
    pass
assert "tenure.cli.broker" in sys.modules
assert not {"tenure.cli.dlq", "tenure.cli.top", "tenure.cli.store"} & set(sys.modules)
"""
    in_fresh_python(code)


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_prints_a_script_for_each_shell(shell: str) -> None:
    result = run("completion", shell)

    assert result.exit_code == 0
    assert "_TENURE_COMPLETE" in result.stdout


def test_the_shell_completes_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from tenure.cli import main; main()"],
        env={
            **os.environ,
            "_TENURE_COMPLETE": "bash_complete",
            "COMP_WORDS": "tenure queue p",
            "COMP_CWORD": "2",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert set(done.stdout.split()) == {"plain,pause", "plain,purge", "plain,peek"}


def test_the_shell_completes_queue_names_and_is_silent_without_a_broker() -> None:
    from tenure.cli.completion import queue_names
    from tenure.cli.session import Session

    parameter = click.Argument(["queue"])

    def complete(client: FakeClient) -> list[str]:
        session = Session(open_client=lambda *_: client)  # type: ignore[arg-type]
        context = click.Context(cli, obj=session)
        return [str(item.value) for item in queue_names(context, parameter, "ma")]

    assert complete(FakeClient(queue_infos=[make_queue("mail"), make_queue("bulk")])) == ["mail"]

    def unreachable(*_: object) -> FakeClient:
        raise ConnectionRefusedError

    context = click.Context(cli, obj=Session(open_client=unreachable))  # type: ignore[arg-type]
    assert queue_names(context, parameter, "ma") == []
