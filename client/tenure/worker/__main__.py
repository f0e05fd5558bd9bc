"""`python -m tenure.worker MODULE:APP`: the same as `tenure worker`."""

from __future__ import annotations

import sys
from importlib.util import find_spec

EXIT_CONFIG = 78


def main() -> int:
    """Run the command with the words of the command line. Returns the exit code."""
    if find_spec("click") is None:
        print(
            "error: tenure.worker needs click: install it with  pip install 'tenure[cli]'",
            file=sys.stderr,
        )
        return EXIT_CONFIG
    from tenure.cli.errors import exit_code_of
    from tenure.cli.worker import worker

    try:
        worker.main(sys.argv[1:], prog_name="tenure worker")
    except Exception as error:
        code = exit_code_of(error)
        if code is None:
            raise
        print(f"error: {error}", file=sys.stderr)
        return int(code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
