"""Workers as commands: what a worker says of itself, and what others ask of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from tenure.core.command import Command
from tenure.fleet import WorkerInfo, worker_info
from tenure.packing import pack
from tenure_protocol.durations import Duration, duration_ms

Order = Literal["quiet", "resume", "stop"]
"""What a worker can be told: take no new jobs, take them again, finish and end."""

_ORDERS = ("quiet", "resume", "stop")


def _nothing(result: Any) -> None:
    del result


# -- said by a worker -------------------------------------------------------------------


def register(info: Mapping[str, Any]) -> Command[str]:
    """Who this worker is, for as long as this connection lasts. The result is its id."""
    return Command("worker.register", pack(dict(info)), lambda result: str(result["worker"]))


def beat(state: Mapping[str, Any]) -> Command[None]:
    """What this worker does now. Raises `WorkerNotFound` before `register` on a connection."""
    return Command("worker.beat", pack(dict(state)), _nothing)


def report(token: int, text: str) -> Command[None]:
    """The answer to a notice that asked for stacks."""
    return Command("worker.report", pack({"token": token, "text": text}), _nothing)


def keep(leases: Iterable[list[Any]] | None) -> Command[int]:
    """Give back every lease of this session but `leases` ([id, attempt] each); how many.

    Said first on a new connection: deliveries that were lost on the way come back at once.
    It is not repeated by itself, for the leases may be others by then.
    """
    kept = None if leases is None else [list(lease) for lease in leases]
    return Command("keep", pack([kept]), lambda result: int(result["released"]))


# -- said by others ---------------------------------------------------------------------


def workers() -> Command[list[WorkerInfo]]:
    """All workers, by name."""

    def read(result: Any) -> list[WorkerInfo]:
        return [worker_info(info) for info in result["workers"]]

    return Command("worker.list", pack({}), read, repeat=True)


def worker(name: str) -> Command[WorkerInfo]:
    """A worker by its id or name."""
    return Command("worker.get", pack({"worker": _checked(name)}), worker_info, repeat=True)


def tell(name: str, do: Order) -> Command[int]:
    """Tell a worker, or all of a name, to quiet, resume or stop; how many were told."""
    if do not in _ORDERS:
        raise ValueError(f"do must be one of {', '.join(_ORDERS)}, not {do!r}")
    args = pack({"worker": _checked(name), "do": do})
    return Command("worker.tell", args, lambda result: int(result["told"]), repeat=True)


def stacks(name: str, timeout: Duration) -> Command[str]:
    """What the threads of a worker do just now. Raises `WorkerSilent` if it does not answer."""
    wait_ms = duration_ms(timeout, "timeout")
    name = _checked(name)

    def args(left_ms: int) -> bytes:
        return pack({"worker": name, "timeout_ms": left_ms})

    return Command(
        "worker.stacks", args, lambda result: str(result["text"]), repeat=True, wait_ms=wait_ms
    )


def _checked(name: str) -> str:
    if not isinstance(name, str) or not name:
        raise TypeError(f"worker must be an id or a name, not {name!r}")
    return name
