"""What a job has done already: names and small values that are kept with it durably.

All of them travel together, as one msgpack map from name to value, each time one is added: the
newest data a job has saved is all it needs.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

import msgpack

from tenure.errors import TenureError
from tenure.packing import packer
from tenure.running.port import Port


class CheckpointRefused(TenureError):
    """A checkpoint could not be kept: the lease is lost, or there is too much in it."""


class Checkpoints:
    """The checkpoints of one job. `values` has what is durable, and what is about to be."""

    __slots__ = ("_port", "values")

    def __init__(self, data: bytes | None, port: Port) -> None:
        self._port = port
        self.values = _read(data)

    def keep(self, name: str, value: Any) -> None:
        """Keep `value` under `name`; it is durable on return. Not on an event loop's thread."""
        from asyncio import _get_running_loop

        if _get_running_loop() is not None:
            raise RuntimeError(
                "this would block the event loop: use `async with job.checkpoint(...)`,"
                " or `await job.aset_checkpoint(...)`"
            )
        data, before = self._with(name, value)
        kept = threading.Event()
        refusals: list[BaseException | None] = []

        def done(refusal: BaseException | None) -> None:
            refusals.append(refusal)
            kept.set()

        self._port.save(data, done)
        kept.wait()
        self._check(name, before, refusals[0])

    async def akeep(self, name: str, value: Any) -> None:
        """`keep` for coroutines."""
        from asyncio import get_running_loop

        data, before = self._with(name, value)
        loop = get_running_loop()
        kept = loop.create_future()

        def settle(refusal: BaseException | None) -> None:
            if not kept.done():
                kept.set_result(refusal)

        def done(refusal: BaseException | None) -> None:
            loop.call_soon_threadsafe(settle, refusal)

        self._port.save(data, done)
        self._check(name, before, await kept)

    def _with(self, name: str, value: Any) -> tuple[bytes, dict[str, Any]]:
        _check_name(name)
        before = self.values
        values = {**before, name: value}
        data = packer()(values)
        self.values = values
        return data, before

    def _check(self, name: str, before: dict[str, Any], refusal: BaseException | None) -> None:
        if refusal is None:
            return
        self.values = {key: value for key, value in self.values.items() if key != name}
        if name in before:
            self.values[name] = before[name]
        raise CheckpointRefused(f"checkpoint {name!r} was not kept: {refusal}") from refusal


class Checkpoint:
    """One part of a job that is done once: a context manager for `with` and `async with`."""

    __slots__ = ("_book", "_done", "_name")

    def __init__(self, book: Checkpoints, name: str) -> None:
        _check_name(name)
        self._book = book
        self._name = name
        self._done = bool(book.values.get(name))

    def __enter__(self) -> bool:
        return self._done

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and not self._done:
            self._book.keep(self._name, True)

    async def __aenter__(self) -> bool:
        return self._done

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and not self._done:
            await self._book.akeep(self._name, True)


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise TypeError(f"the name of a checkpoint is a text, not {name!r}")


def _read(data: bytes | None) -> dict[str, Any]:
    if not data:
        return {}
    try:
        values = msgpack.unpackb(data, strict_map_key=False)
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise CheckpointRefused("the checkpoints of an earlier attempt cannot be read") from error
    if type(values) is not dict:
        raise CheckpointRefused("the checkpoints of an earlier attempt are no map of names")
    return values
