"""A census of the standard library: real work through a real broker that gets killed on the way.

    python -m examples.stdlib_census [--limit N] [--workers N] [--timeout SECONDS]

About 1,800 source files are parsed by `tenure worker` processes. One of them and the broker are
killed with kill -9. Exit code 0 only if every file ended exactly once.

analyse.py   what is found out about one source file; pure
tasks.py     the app: the function above as a task
ledger.py    the sum: which file ended where, and whether that is right; pure
view.py      what is shown on the way and at the end
__main__.py  the whole story; `make demo` runs it
"""
