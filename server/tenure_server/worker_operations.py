"""The operations about workers: arguments checked, then `Workers` is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tenure_protocol.errors import BadRequest, BrokerError, Draining
from tenure_protocol.limits import (
    CLIENT_NAME_CHARS_MAX,
    STACKS_CHARS_MAX,
    WAIT_MS_MAX,
    WORKER_INFO_BYTES_MAX,
)
from tenure_protocol.wire import pack
from tenure_server.engine import Now
from tenure_server.workers import LONG_KEYS, Told, weight_and_depth

if TYPE_CHECKING:
    from tenure_server.connection import Connection

ORDERS = ("quiet", "resume", "stop")
"""What a worker can be told to do."""

STACKS_WAIT_MS = 10_000
"""How long a worker may take to tell its stacks, unless the asker says."""

VALUES_MAX = 65_536
"""The most values in what a worker tells, counted as in a frame."""

DEPTH_MAX = 16
"""How deep they may be nested: replies put them into arrays and maps of their own."""

_TOKEN_MAX = 1 << 53


def _register(connection: Connection, args: dict[Any, Any], now: Now) -> object:
    session = connection.session
    assert session is not None
    name = args.get("name")
    if name is None:
        name = session.name
    if type(name) is not str or not 1 <= len(name) <= CLIENT_NAME_CHARS_MAX:
        raise BadRequest(f"name must be a text of 1 to {CLIENT_NAME_CHARS_MAX} characters")
    told = _told(args)
    return {"worker": connection.hub.workers.register(connection, name, told, now)}


def _beat(connection: Connection, args: dict[Any, Any], now: Now) -> object:
    connection.hub.workers.beat(connection, _told(args), now)
    return {}


def _report(connection: Connection, args: dict[Any, Any], now: Now) -> object:
    text = args.get("text")
    if type(text) is not str:
        raise BadRequest("text must be a text")
    token = _whole(args.get("token"), "token", 0, _TOKEN_MAX)
    connection.hub.workers.report(connection, token, text[:STACKS_CHARS_MAX])
    return {}


def _list(connection: Connection, args: dict[Any, Any], now: Now) -> object:
    return connection.hub.workers.listed(now.mono_ms)


def _get(connection: Connection, args: dict[Any, Any], now: Now) -> object:
    return connection.hub.workers.found(_named(args), now.mono_ms).shown()


def _tell(connection: Connection, args: dict[Any, Any], now: Now) -> object:
    do = args.get("do")
    if type(do) is not str or do not in ORDERS:
        raise BadRequest(f"do must be one of {', '.join(ORDERS)}")
    return {"told": connection.hub.workers.tell(_named(args), do)}


def _told(args: dict[Any, Any]) -> Told:
    """What a worker tells of itself, if it is not too much."""
    told = pack(args)
    if len(told) > WORKER_INFO_BYTES_MAX:
        raise BadRequest(
            f"what a worker tells has {len(told)} bytes; the limit is {WORKER_INFO_BYTES_MAX}",
            details={"bytes": len(told), "limit": WORKER_INFO_BYTES_MAX},
        )
    weight, depth = weight_and_depth(args)
    if weight > VALUES_MAX:
        raise BadRequest(f"what a worker tells has more than {VALUES_MAX} values")
    if depth > DEPTH_MAX:
        raise BadRequest(f"what a worker tells is nested deeper than {DEPTH_MAX} levels")
    brief = {key: value for key, value in args.items() if key not in LONG_KEYS}
    if len(brief) == len(args):
        return Told(told, weight, told, weight)
    return Told(told, weight, pack(brief), weight_and_depth(brief)[0])


def _named(args: dict[Any, Any]) -> str:
    name = args.get("worker")
    if type(name) is not str or not name:
        raise BadRequest("worker must be the id or the name of a worker")
    return name


def _whole(value: object, name: str, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise BadRequest(f"{name} must be a whole number from {low} to {high}")
    return value


def _stacks(connection: Connection, request_id: int, args: Any, now: Now) -> None:
    """Answers when the worker has; all other operations answer at once."""
    try:
        fields = _map_of("worker.stacks", args)
        given = fields.get("timeout_ms")
        wait_ms = STACKS_WAIT_MS if given is None else _whole(given, "timeout_ms", 0, WAIT_MS_MAX)
        if connection.hub.stopping:
            raise Draining("the broker is stopping")
        workers = connection.hub.workers
        worker = workers.found(_named(fields), now.mono_ms)
        workers.ask_stacks(connection, request_id, worker, wait_ms)
    except BrokerError as error:
        connection.refuse(request_id, error)


def _map_of(op: str, args: Any) -> dict[Any, Any]:
    if args is None:
        return {}
    if not isinstance(args, dict):
        raise BadRequest(f"the arguments of {op} must be a map")
    return args


Answer = Callable[["Connection", dict[Any, Any], Now], object]


def _answered(op: str, answer: Answer) -> Callable[[Connection, int, Any, Now], None]:
    def carry_out(connection: Connection, request_id: int, args: Any, now: Now) -> None:
        try:
            result = answer(connection, _map_of(op, args), now)
        except BrokerError as error:
            connection.refuse(request_id, error)
        else:
            connection.answer(request_id, 0, result)

    return carry_out


WORKER_OPERATIONS: dict[str, Callable[[Connection, int, Any, Now], None]] = {
    **{
        op: _answered(op, answer)
        for op, answer in {
            "worker.register": _register,
            "worker.beat": _beat,
            "worker.report": _report,
            "worker.list": _list,
            "worker.get": _get,
            "worker.tell": _tell,
        }.items()
    },
    "worker.stacks": _stacks,
}
"""By their names on the wire."""
