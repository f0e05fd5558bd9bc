"""A census of the standard library: real work through a real broker that gets killed on the way.

analyse.py    what is found out about one source file; pure
worker.py     a worker process: reserve, work, ack
processes.py  the broker and the workers as processes that are started, killed and ended
ledger.py     the sum: which file ended where, and whether that is right; pure
view.py       what is shown on the way and at the end
__main__.py   the whole story; `make demo` runs it
"""
