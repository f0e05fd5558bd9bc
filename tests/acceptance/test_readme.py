"""The README, run as written: every example of it against a real broker, in its order.

A comment before each ```console and ```python block says what is done with it:

    <!-- example: run -->               the lines after "$ " are run; what follows each is its output
    <!-- example: background -->        the same, left running until the end of the README
    <!-- example: file NAME -->         saved under that name where the commands run
    <!-- example: run FILE -->          the text of that file of this repository, which is run
    <!-- example: shown, because WHY -->

"..." in an output stands for anything, and one job id for another. The broker listens on its default ports, as the README
says; if somebody else has them, the environment gives it other ones, and the clients follow.
"""

from __future__ import annotations

import os
import queue
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PORTS = (7733, 7780)
OUTPUT_WITHIN_S = 30
STOPS_WITHIN_S = 20
COMMAND_S = 60


class Example(NamedTuple):
    """A fenced block of the README and what its marker says."""

    line: int
    kind: str
    language: str
    text: str


class Command(NamedTuple):
    """A line of a console block and what it must print."""

    line: str
    output: str


def examples() -> list[Example]:
    """All console and python blocks; unmarked ones have an empty kind."""
    pattern = re.compile(
        r"(?:^<!-- example: (?P<kind>[^\n]*?) -->\n+)?^```(?P<language>console|python)\n(?P<text>.*?)^```$",
        re.MULTILINE | re.DOTALL,
    )
    text = README.read_text("utf-8")
    return [
        Example(
            text.count("\n", 0, found.start("text")),
            found["kind"] or "",
            found["language"],
            found["text"],
        )
        for found in pattern.finditer(text)
    ]


def commands(text: str) -> list[Command]:
    """The commands of a console block with their outputs."""
    parts = re.split(r"^\$ (.*)\n", text, flags=re.MULTILINE)
    assert not parts[0].strip(), f"a console block must begin with a command: {parts[0]!r}"
    return [Command(line, output) for line, output in zip(parts[1::2], parts[2::2], strict=True)]


def tidied(text: str) -> str:
    """A text without spaces at the ends of its lines, every job id replaced by the same."""
    lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
    return re.sub(r"\b[0-9a-hjkmnp-tv-z]{26}\b", "ID", lines)


def matches(expected: str, printed: str) -> bool:
    """Whether `printed` is what the README says, "..." standing for anything."""
    pattern = re.escape(tidied(expected)).replace(re.escape("..."), ".*")
    return re.fullmatch(pattern, tidied(printed), re.DOTALL) is not None


def is_free(port: int) -> bool:
    """Whether the broker could listen on `port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment() -> dict[str, str]:
    """What the reader's shell would have: an activated environment, and nothing set for Tenure."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("TENURE_")}
    own |= {
        "PATH": f"{Path(sys.executable).parent}:{own['PATH']}",
        "COLUMNS": "100",
        "NO_COLOR": "1",
    }
    if not all(is_free(port) for port in PORTS):
        port, http = free_port(), free_port()
        own["TENURE_URL"] = f"tenure://127.0.0.1:{port}"
        own |= {"TENURE_LISTEN": f"127.0.0.1:{port}", "TENURE_HTTP": f"127.0.0.1:{http}"}
    return own


@contextmanager
def background(command: Command, place: Path, env: dict[str, str]) -> Iterator[None]:
    """A command that runs until the end, once it has printed what the README says."""
    # exec: the signal at the end must reach the command, not a shell around it.
    with subprocess.Popen(
        ["bash", "-c", f"exec {command.line}"], cwd=place, env=env, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        lines: queue.Queue[str] = queue.Queue()
        reader = threading.Thread(target=read_lines, args=(process, lines), daemon=True)
        reader.start()
        try:
            wait_for(command, lines)
            yield
        finally:
            process.terminate()
            try:
                process.wait(STOPS_WITHIN_S)
            finally:
                process.kill()
            reader.join(STOPS_WITHIN_S)
    if command.line.startswith("tenure server"):
        assert process.returncode == 0, "\n".join(lines.queue)


def read_lines(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    """Hands on what a process prints, until it ends."""
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)


def wait_for(command: Command, lines: queue.Queue[str]) -> None:
    """Returns when every line of the expected output has been printed."""
    ends = time.monotonic() + OUTPUT_WITHIN_S
    for expected in command.output.splitlines():
        seen: list[str] = []
        while not seen or not matches(expected, seen[-1]):
            try:
                seen.append(lines.get(timeout=max(ends - time.monotonic(), 0)))
            except queue.Empty:
                pytest.fail(f"$ {command.line}\ndid not print {expected!r} but {''.join(seen)!r}")


def run(line: str, expected: str, place: Path, env: dict[str, str]) -> None:
    """Runs a command to its end and compares what it prints."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line], cwd=place, env=env, timeout=COMMAND_S, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"$ {line}\n{done.stdout}"
    assert matches(expected, done.stdout), f"$ {line}\n{done.stdout}\nis not\n{expected}"


def follow(example: Example, place: Path, env: dict[str, str], running: ExitStack) -> None:
    """Does with one example what its marker says."""
    match example.kind.split():
        case ["run"] if example.language == "console":
            for command in commands(example.text):
                run(command.line, command.output, place, env)
        case ["background"]:
            (command,) = commands(example.text)
            running.enter_context(background(command, place, env))
        case ["file", name]:
            (place / name).write_text(example.text, "utf-8")
        case ["run", name]:
            run(f"python {ROOT / name}", "...", place, env)
        case ["shown,", "because", *_]:
            pass
        case _:
            pytest.fail(f"README.md:{example.line}: {example.kind!r} is no kind of example")


def test_every_example_says_whether_it_is_run() -> None:
    unmarked = [f"README.md:{each.line}" for each in examples() if not each.kind]
    assert examples()
    assert not unmarked


def test_the_programs_in_the_readme_are_those_in_the_repository() -> None:
    programs = [each for each in examples() if re.fullmatch(r"run \S+", each.kind)]
    assert programs
    for each in programs:
        assert each.text == (ROOT / each.kind.removeprefix("run ")).read_text("utf-8")


@pytest.mark.slow
def test_the_readme_works_as_written(tmp_path: Path) -> None:
    env = environment()
    with ExitStack() as running:
        for example in examples():
            follow(example, tmp_path, env, running)


def test_an_output_that_differs_is_noticed() -> None:
    assert matches("a ... c\n", "a b b c")
    assert matches("...mail...", "QUEUE\nmail  1\n")
    assert matches("job 0000003001m826edhp00000001", "job 0000003001m826edhp0000001z")
    assert not matches("sending to ada", "sending to bob")
    assert not matches("one", "one\ntwo")
