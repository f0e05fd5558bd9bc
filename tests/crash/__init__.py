"""kill -9 of real processes in every phase of their lives: `python -m tests.crash --help`."""
