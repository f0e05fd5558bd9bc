"""The operations that the shell answers itself; every other one is the engine's.

Each function answers at once through its connection, except `backup.create`, which answers
when the copy is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tenure_protocol import PROTOCOL_VERSION, PROTOCOL_VERSION_MIN
from tenure_protocol.errors import BadRequest, Draining, UnsupportedProtocol
from tenure_protocol.limits import CLIENT_NAME_CHARS_MAX, WAIT_MS_MAX
from tenure_protocol.version import VERSION
from tenure_server.engine import Now
from tenure_server.log import get_log
from tenure_server.worker_operations import WORKER_OPERATIONS

if TYPE_CHECKING:
    from tenure_server.connection import Connection
    from tenure_server.hub import Hub

FEATURES = [
    "auto_ack", "backup", "chores", "keep", "memory_queues", "notes", "results", "sessions", "unique",
    "workers",
]  # fmt: skip
"""What a client may rely on beyond the protocol version."""

SERVER = f"tenure {VERSION}"

Operation = Callable[["Connection", int, Any, Now], None]


def say_hello(connection: Connection, args: object, now: Now) -> dict[str, object]:
    """Opens the session of a connection; the reply to its hello.

    Raises `BadRequest`, `UnsupportedProtocol` or `Draining`; each ends the connection.
    """
    hub = connection.hub
    if not isinstance(args, dict):
        raise BadRequest("the arguments of hello must be a map")
    version = _common_version(args.get("protocol"))
    name = args.get("client")
    if type(name) is not str or not 1 <= len(name) <= CLIENT_NAME_CHARS_MAX:
        raise BadRequest(f"client must be a text of 1 to {CLIENT_NAME_CHARS_MAX} characters")
    session_id = args.get("session")
    if session_id is not None and (type(session_id) is not bytes or len(session_id) != 8):
        raise BadRequest("session must be 8 bytes or nil")
    if args.get("library") is not None and type(args["library"]) is not str:
        raise BadRequest("library must be a text or nil")
    if hub.stopping:
        raise Draining("the broker is stopping; connect again in a moment")
    if session_id is not None and session_id in hub.by_session:
        # The client came back before we noticed that its old connection was dead.
        hub.by_session[session_id].abort("session_resumed_elsewhere")
    session = hub.engine.open_session(session_id, name, connection.address, now)
    session.link = connection
    connection.session = session
    connection.name = name
    hub.by_session[session.id] = connection
    get_log().debug(
        "client_connected",
        client=name,
        library=args.get("library"),
        address=connection.address,
        resumed=session.resumed,
    )
    limits = hub.limits
    return {
        "protocol": version,
        "server": SERVER,
        "session": session.id,
        "resumed": session.resumed,
        "now_ms": now.wall_ms,
        "features": FEATURES,
        "idle_timeout_ms": hub.timeouts.idle_ms,
        "limits": {
            "frame_bytes_max": limits.frame_bytes_max,
            "payload_bytes_max": limits.payload_bytes_max,
            "jobs_per_request_max": limits.jobs_per_request,
            "result_bytes_max": limits.result_bytes_max,
            "wait_ms_max": WAIT_MS_MAX,
        },
    }


def _common_version(offered: object) -> int:
    match offered:
        case [int(low), int(high), *_] if 0 < low <= high:
            common = min(high, PROTOCOL_VERSION)
            if common < max(low, PROTOCOL_VERSION_MIN):
                raise UnsupportedProtocol(
                    f"this broker speaks protocol {PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION},"
                    f" the client {low} to {high}",
                    details={"min": PROTOCOL_VERSION_MIN, "max": PROTOCOL_VERSION},
                )
            return common
        case _:
            raise BadRequest("protocol must be [lowest, highest] version the client speaks")


def _hello_again(connection: Connection, request_id: int, args: Any, now: Now) -> None:
    connection.refuse(request_id, BadRequest("hello is said once, as the first request"))


def _ping(connection: Connection, request_id: int, args: Any, now: Now) -> None:
    connection.answer(request_id, 0, {"now_ms": now.wall_ms})


def _drain(connection: Connection, request_id: int, args: Any, now: Now) -> None:
    off = args.get("off") if isinstance(args, dict) else None
    if off is not None and type(off) is not bool:
        connection.refuse(request_id, BadRequest("off must be true or false"))
        return
    hub = connection.hub
    if off and hub.stopping:
        connection.refuse(request_id, Draining("the broker is stopping"))
        return
    wanted = not off
    if hub.engine.draining != wanted:
        hub.log_limited("info", "draining" if wanted else "draining_ended", client=connection.name)
        hub.engine.set_draining(wanted, now)
    connection.answer(request_id, 0, {"draining": hub.engine.draining})


def _stats(connection: Connection, request_id: int, args: Any, now: Now) -> None:
    connection.answer(request_id, 0, stats(connection.hub, now))


def _backup_create(connection: Connection, request_id: int, args: Any, now: Now) -> None:
    name = args.get("name") if isinstance(args, dict) else None
    connection.hub.backups.create(connection, request_id, name)


OPERATIONS: dict[str, Operation] = {
    "hello": _hello_again,
    "ping": _ping,
    "drain": _drain,
    "stats": _stats,
    "backup.create": _backup_create,
    **WORKER_OPERATIONS,
}


def stats(hub: Hub, now: Now) -> dict[str, object]:
    """The result of `stats`: the engine's part and the shell's."""
    counters = hub.counters
    sizes = hub.capacity.sizes()
    return {
        **hub.engine.stats(now),
        "server": SERVER,
        "started_at_ms": hub.started.wall_ms,
        "now_ms": now.wall_ms,
        "connections": len(hub.connections),
        "workers": len(hub.workers),
        "store": {
            "used_bytes": sizes.used_bytes,
            "file_bytes": sizes.file_bytes,
            "max_bytes": sizes.max_bytes,
            "map_bytes": sizes.map_bytes,
            "entries": hub.capacity.entries(),
            "full": hub.engine.store_full,
        },
        "commit": {
            "batches": counters.batches,
            "p50_us": counters.commit_quantile_us(0.5),
            "p99_us": counters.commit_quantile_us(0.99),
        },
        "draining": hub.engine.draining,
    }
