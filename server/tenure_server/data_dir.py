"""Opens the store of a configuration, and turns what can go wrong into one line and an exit code."""

from __future__ import annotations

import errno

from tenure_server import exits
from tenure_server.config import Config
from tenure_storage.capacity import default_max_bytes
from tenure_storage.journaled_store import open_journaled
from tenure_storage.memory_store import MemoryStore
from tenure_storage.store import Store, StoreError, StoreLocked, StoreUnwritable

_MAY_PASS = frozenset({
    errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE,
})  # fmt: skip
"""Errors after which another start may go well; the others need a person."""


def open_store(config: Config) -> Store:
    """The store: in the data directory, or in memory for an ephemeral broker.

    Raises `StartError`.
    """
    if config.ephemeral:
        return MemoryStore()
    try:
        return open_journaled(
            config.data_dir,
            max_bytes=_max_bytes(config),
            map_bytes=config.store.map_bytes or None,
        )
    except StoreError as error:
        raise exits.StartError(str(error), _code(error)) from error
    except OSError as error:
        raise exits.StartError(
            f"data directory {config.data_dir} cannot be used: {error.strerror or error}"
            f" ({error.filename or config.data_dir})",
            _code_of_system(error),
        ) from error


def _max_bytes(config: Config) -> int:
    if config.store.max_bytes:
        return config.store.max_bytes
    automatic = default_max_bytes(config.data_dir)
    # A map given by hand must keep room above the capacity: that is where jobs are settled
    # when the store is full.
    return min(automatic, config.store.map_bytes * 4 // 5) if config.store.map_bytes else automatic


def _code(error: StoreError) -> int:
    if isinstance(error, StoreLocked):
        return exits.LOCKED
    if isinstance(error, StoreUnwritable):
        return exits.IO_ERROR
    if isinstance(error.__cause__, OSError):
        return _code_of_system(error.__cause__)
    return exits.DATA


def _code_of_system(error: OSError) -> int:
    return exits.IO_ERROR if error.errno in _MAY_PASS else exits.CANNOT_CREATE
