"""The writer: one thread that begins, commits and aborts every write transaction.

    loop thread    take() ── fills ── hand_over() ─┐              (serves on)
    writer thread                                  └─ commit, fsync ─ begin the next ─ on_done

LMDB ties a write transaction to the thread that began it: a commit on another thread returns
as if all were well and leaves the write lock taken for ever. Filling it from another thread
is allowed, and is done on the loop thread because two threads that both want the interpreter
cost a hundred times as much per row (docs/decisions/0002-commit.md).

The next transaction is begun ahead. While it waits it holds LMDB's write lock, which nobody
else wants, and pins no pages: which pages are free is looked up when pages are needed.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from tenure_storage.environment import Environment, LmdbError, Transaction
from tenure_storage.store import Batch, StoreError

OnDone = Callable[[BaseException | None], None]


def commit_transaction(txn: Transaction) -> None:
    """Commits, with its fsync. A name of its own so that tests can make it fail."""
    txn.commit()


class Writer:
    """The write transaction and the thread that owns it. All methods are for one other thread."""

    def __init__(self, env: Environment, map_lock: threading.Lock) -> None:
        """Starts the thread. `map_lock` is held by whoever needs the map to stay where it is."""
        self.failure: BaseException | None = None
        self.in_flight = False
        self._env = env
        self._map_lock = map_lock
        self._txn: Transaction | None = None
        self._on_done: OnDone | None = None
        self._grow_to_bytes = 0
        # Three plain locks as one-way signals: the cheapest hand-over that Python has.
        self._order = _taken_lock()
        self._at_work = _taken_lock()
        self._ready = _taken_lock()
        self._thread = threading.Thread(target=self._run, name="tenure-writer", daemon=True)
        self._thread.start()

    def take(self) -> Transaction:
        """The write transaction, to be filled. Waits until the last commit is over."""
        self._ready.acquire()
        if self._txn is None:
            self._ready.release()
            raise StoreError(f"the store can no longer be written: {self.failure}")
        return self._txn

    def hand_over(self, on_done: OnDone) -> None:
        """Lets the writer commit what was filled; returns when it is about to.

        Waiting for that costs some 30 µs and is worth it: else the writer gets the interpreter
        only when this thread next gives it up, on a busy loop 5 ms later.
        """
        self._on_done = on_done
        self.in_flight = True
        self._order.release()
        self._at_work.acquire()

    def grow(self, map_bytes: int) -> Transaction:
        """Drops what was filled, grows the map, and begins again; the new transaction.

        Raises `StoreError` if the map cannot grow; nothing was committed then.
        """
        self._grow_to_bytes = map_bytes
        self._order.release()
        return self.take()

    def fail(self, error: BaseException) -> None:
        """Latches while the transaction is taken: what was filled is dropped."""
        self.failure = error
        self._order.release()
        self._thread.join()

    def stop(self) -> None:
        """Waits for the commit in flight, drops the waiting transaction, ends the thread."""
        if self._thread.is_alive():
            self._ready.acquire()
            self._order.release()
            self._thread.join()
            self._ready.release()

    # ---- on the writer thread ----------------------------------------------------------

    def _run(self) -> None:
        self._begin()
        self._ready.release()
        while self._txn is not None:
            self._order.acquire()
            if self._grow_to_bytes:
                self._grow()
                self._ready.release()
            elif self._on_done is not None:
                self._commit(self._on_done)
            else:
                self._txn.abort()
                self._txn = None

    def _begin(self) -> None:
        try:
            self._txn = self._env.begin(write=True)
        except LmdbError as error:
            self._txn = None
            self.failure = error

    def _grow(self) -> None:
        assert self._txn is not None
        self._txn.abort()
        self._txn = None
        size, self._grow_to_bytes = self._grow_to_bytes, 0
        with self._map_lock:
            try:
                self._env.set_mapsize(size)
            except LmdbError as error:
                self.failure = error
                # LMDB let go of the old map first. A read without a map would crash; a read of
                # a closed environment is an error.
                self._env.close()
        if self.failure is None:
            self._begin()

    def _commit(self, on_done: OnDone) -> None:
        assert self._txn is not None
        self._at_work.release()
        error: BaseException | None = None
        try:
            commit_transaction(self._txn)
        except BaseException as raised:
            # Whether the batch is on the disk is unknown, and a second try of a failed fsync
            # would succeed without the data: this was the last commit.
            error = self.failure = raised
            with contextlib.suppress(LmdbError):
                self._txn.abort()
            self._txn = None
        else:
            self._begin()
        self._on_done = None
        self.in_flight = False
        self._ready.release()
        try:
            on_done(error)
        except BaseException as raised:
            # Nobody learned that the batch is durable; going on would hide that.
            self.failure = self.failure or raised


def commit_through(submit: Callable[[Batch, OnDone], None], batch: Batch) -> None:
    """Submits a batch and waits; raises what its commit raised."""
    done = _taken_lock()
    outcome: list[BaseException | None] = []

    def on_done(error: BaseException | None) -> None:
        outcome.append(error)
        done.release()

    submit(batch, on_done)
    done.acquire()
    if outcome[0] is not None:
        raise outcome[0]


def _taken_lock() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock
