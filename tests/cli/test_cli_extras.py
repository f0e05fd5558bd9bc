"""Without an extra, the command says in one line which one to install."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

CLI_PACKAGES = ("msgpack", "click", "rich", "markdown_it", "mdurl", "pygments")


def location(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


MAIN = "from tenure.cli import main; main({words!r})"


def run_with_only(
    packages: tuple[str, ...], tmp_path: Path, *words: str, main: str = MAIN
) -> tuple[int, str, str]:
    """Run the command in a Python that has nothing but our code and these packages."""
    for package in (*packages, "tenure", "tenure_protocol", "tenure_server", "tenure_storage"):
        (tmp_path / package).symlink_to(location(package))
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); " + main.format(words=list(words))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words", [[], ["--help"], ["ping"], ["server"]])
def test_with_msgpack_only_it_names_the_cli_extra(tmp_path: Path, words: list[str]) -> None:
    code, out, err = run_with_only(("msgpack",), tmp_path, *words)

    assert (code, out) == (78, "")
    assert err == (
        "error: the tenure command needs click and rich:"
        " install it with  pip install 'tenure[cli]'\n"
    )


def test_the_worker_as_a_module_names_it_too(tmp_path: Path) -> None:
    main = "from tenure.worker.__main__ import main; sys.exit(main())"
    code, out, err = run_with_only(("msgpack",), tmp_path, main=main)

    assert (code, out) == (78, "")
    assert err == ("error: tenure.worker needs click: install it with  pip install 'tenure[cli]'\n")


def test_without_rich_alone_it_names_the_cli_extra(tmp_path: Path) -> None:
    code, _, err = run_with_only(("msgpack", "click"), tmp_path, "--help")

    assert code == 78
    assert "needs rich: install it with  pip install 'tenure[cli]'" in err


@pytest.mark.parametrize(
    "words", [["server"], ["store", "verify", "."], ["backup", "restore", ".", "--data-dir", "x"]]
)
def test_without_the_server_extra_the_daemon_and_the_store_name_it(
    tmp_path: Path, words: list[str]
) -> None:
    code, out, err = run_with_only(CLI_PACKAGES, tmp_path, *words)

    assert (code, out) == (78, "")
    assert err.count("\n") == 1
    assert "lmdb" in err
    assert "pip install 'tenure[server]'" in err


def test_with_the_cli_extra_alone_everything_else_works(tmp_path: Path) -> None:
    code, out, _ = run_with_only(CLI_PACKAGES, tmp_path, "server", "--help")

    assert code == 0
    assert "--data-dir" in out


def test_with_the_cli_extra_alone_a_missing_broker_is_told(tmp_path: Path) -> None:
    code, _, err = run_with_only(CLI_PACKAGES, tmp_path, "--url", "tenure://127.0.0.1:1", "status")

    assert code == 69
    assert "connection refused" in err
