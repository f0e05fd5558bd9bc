"""`python -m tenure_server`: the daemon without the `tenure` command."""

import sys

from tenure_server.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
