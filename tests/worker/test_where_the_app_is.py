"""An app that is not found is told with the directory in which it was looked for."""

from __future__ import annotations

from pathlib import Path

from tests.worker.processes import WorkerProcess

NOWHERE = "tenure://127.0.0.1:1"


def test_a_module_that_there_is_not_names_the_directory(tmp_path: Path) -> None:
    with WorkerProcess(NOWHERE, tmp_path, app="shopp:app", app_dir=tmp_path) as worker:
        assert worker.wait() == 78
    assert f"there is no module 'shopp' in {tmp_path}" in worker.log
    assert worker.log.count("\n") == 1


def test_a_module_of_a_package_too(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    with WorkerProcess(NOWHERE, tmp_path, app="shop.tasks:app", app_dir=tmp_path) as worker:
        assert worker.wait() == 78
    assert f"there is no module 'shop.tasks' in {tmp_path}" in worker.log


def test_what_the_app_itself_misses_is_told_with_the_place_of_the_import(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("import nothing_of_the_kind\n")
    with WorkerProcess(NOWHERE, tmp_path, app="shop:app", app_dir=tmp_path) as worker:
        assert worker.wait() == 78
    assert "No module named 'nothing_of_the_kind'" in worker.log
    assert "shop.py" in worker.log


def test_a_directory_that_there_is_not_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "gone"
    with WorkerProcess(NOWHERE, tmp_path, app="shop:app", app_dir=missing) as worker:
        assert worker.wait() == 2
    assert worker.log == f'error: --app-dir "{missing}" is not a directory\n'
