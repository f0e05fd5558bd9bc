"""Importing the app, and what the parent is told of it."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable
from importlib import import_module
from traceback import TracebackException
from typing import Any

from tenure.core.failure import failure_map
from tenure.errors import ImportFailed
from tenure.running.failure import user_traceback
from tenure.tasks.app import App
from tenure.worker.child.wire import Wire
from tenure.worker.pipe import BROKEN, FILES

APP_NAME = "app"
"""The name of the app in its module, when nothing else is said."""


def load_app(spec: str) -> App:
    """The app that MODULE:NAME names, with all its tasks imported.

    Raises `ImportFailed`, or whatever the modules raise.
    """
    module_name, _, path = spec.partition(":")
    found: Any = _module(module_name)
    for name in (path or APP_NAME).split("."):
        if not hasattr(found, name):
            raise ImportFailed(f"{module_name} has no {path or APP_NAME!r}", name=module_name)
        found = getattr(found, name)
    if not isinstance(found, App):
        raise ImportFailed(f"{spec} is no App but a {type(found).__name__}", name=module_name)
    found.load()
    if not found.tasks:
        # It would take the jobs of somebody else's queue, and bury what it does not know.
        raise ImportFailed(
            f"the app {spec} has no tasks; name the modules that define them with imports=,"
            f' such as App(imports=["{module_name}.tasks"]), or import them in {module_name}',
            name=module_name,
        )
    return found


def _module(name: str) -> Any:
    """The module, imported; one that there is not is told with where it was looked for."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing != name and not name.startswith(f"{missing}."):
            raise  # it is there, and what it imports is not: the traceback says where
        # The first place on the path is --app-dir.
        raise ImportFailed(
            f"there is no module {missing!r} in {sys.path[0]}, nor elsewhere on Python's path;"
            " --app-dir says where to look first",
            name=name,
        ) from None


def manifest(app: App, spec: str) -> dict[str, Any]:
    """What the parent must know of the app."""
    tasks = app.tasks
    return {
        "pid": os.getpid(),
        "app": spec,
        "url": app.url,
        "tasks": {
            name: {
                "executor": task.options.executor,
                "is_async": task.is_async,
                "timeout_ms": task.options.timeout_ms,
                "soft_timeout_ms": task.options.soft_timeout_ms,
            }
            for name, task in tasks.items()
        },
        "queues": sorted({task.options.queue for task in tasks.values()}),
        "hooks": sorted(kind for kind, hooks in app.hooks.items() if hooks),
    }


def broken_message(error: BaseException) -> list[Any]:
    """What the parent is told when the app cannot be imported or started."""
    # Of what we found out ourselves the message says all; where we did is of no use to anybody.
    ours = isinstance(error, ImportFailed) and error.__cause__ is None
    traceback = "" if ours else user_traceback(error)
    told = failure_map(error, dead=False, kind="failed", traceback=traceback)
    return [BROKEN, told["error_type"], told["message"], told["traceback"]]


class Files:
    """The source files that were imported, but for those that were installed; they may change."""

    def __init__(self) -> None:
        paths = sysconfig.get_paths()
        self._installed = tuple(
            {
                os.path.join(paths[name], "")
                for name in ("stdlib", "platstdlib", "purelib", "platlib")
            }
        )
        self._modules = 0
        self._told: list[str] = []

    def tell(self, wire: Wire, more: Iterable[str] = ()) -> None:
        """Tell the parent, if they are others than the last time; `more` are taken in as well."""
        more = list(more)
        if len(sys.modules) == self._modules and not more:
            return
        self._modules = len(sys.modules)
        found = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        paths = {os.path.abspath(path) for path in {*found, *more} if path}
        own = sorted(
            path for path in paths if path.endswith(".py") and not path.startswith(self._installed)
        )
        if own != self._told:
            self._told = own
            wire.send([FILES, own])


def files_in(error: BaseException) -> list[str]:
    """The files that an import that failed had to do with: one of them is to be mended."""
    shown = TracebackException.from_exception(error)
    files = [frame.filename for frame in shown.stack]
    if isinstance(error, SyntaxError) and error.filename:
        files.append(error.filename)
    return [path for path in files if os.path.isfile(path)]
