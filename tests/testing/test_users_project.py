"""A user's project: the fixtures are there, the project needs no line for it, and costs nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from textwrap import dedent

APP = """
from tenure import App

app = App("tenure://production.invalid")
sent = []

@app.task(retry=None)
def send_email(to: str) -> None:
    sent.append(to)

@app.task
async def sign_up(name: str) -> None:
    await send_email.using(delay="1d").aenqueue(f"{name}@example.org")
"""

TESTS = """
from shop import send_email, sent, sign_up

def test_a_day_later_there_is_mail(tenure):
    sign_up.enqueue("ada")
    tenure.run_until_idle()
    tenure.assert_enqueued(send_email, "ada@example.org")
    assert sent == []
    tenure.advance("1d")
    tenure.run_until_idle()
    assert sent == ["ada@example.org"]

def test_that_fails(tenure):
    sign_up.enqueue("bob")
    tenure.assert_enqueued(send_email, "bob@example.org")

def test_eager(tenure_eager):
    sent.clear()
    send_email.enqueue("eve@example.org")
    assert sent == ["eve@example.org"]

def test_server(tenure_server):
    assert send_email.enqueue("eve@example.org").status() == "ready"
"""


def run_pytest(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
    )


def test_pytest_finds_the_plugin() -> None:
    found = [one.value for one in entry_points(group="pytest11") if one.name == "tenure"]
    assert found == ["tenure.testing.plugin"]


def test_a_project_without_a_conftest_has_the_fixtures(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "test_shop.py").write_text(TESTS)
    done = run_pytest(tmp_path, "-q", "-W", "error::pytest.PytestCollectionWarning")
    assert "3 passed" in done.stdout, done.stdout + done.stderr
    assert "1 failed" in done.stdout, done.stdout
    assert "send_email(to='bob@example.org') was not enqueued." in done.stdout
    assert "sign_up(name='bob') queue='default' [ready]" in done.stdout


def test_the_fixtures_are_explained(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "--fixtures", "-q")
    for name in ("tenure --", "tenure_server --", "tenure_server_session", "tenure_eager --"):
        assert name in done.stdout, done.stdout


def test_a_test_run_that_does_not_use_it_loads_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(
        dedent("""
        import sys

        def test_nothing_is_loaded():
            heavy = ("tenure_server", "tenure_storage", "tenure.testing.broker", "tenure.tasks.app")
            assert [name for name in heavy if name in sys.modules] == []
        """)
    )
    done = run_pytest(tmp_path, "-q", "-p", "no:asyncio", "-p", "no:anyio")
    assert "1 passed" in done.stdout, done.stdout + done.stderr
