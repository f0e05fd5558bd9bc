"""The `tenure` command.

Everything that needs more than the bare client (Click, Rich, the daemon, the store) is
imported where it is used: the command starts fast, and says what to install when a part
is missing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import NoReturn

_EXIT_CONFIG = 78


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code. The entry point of `tenure`."""
    missing = [name for name in ("click", "rich") if find_spec(name) is None]
    if missing:
        print(
            f"error: the tenure command needs {' and '.join(missing)}:"
            " install it with  pip install 'tenure[cli]'",
            file=sys.stderr,
        )
        sys.exit(_EXIT_CONFIG)
    from tenure.cli.app import cli

    cli.main(arguments, prog_name="tenure")
    raise AssertionError("the command line always exits")
