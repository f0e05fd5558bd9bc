"""The first exchange of a connection: hello, and what the broker says of itself."""

from __future__ import annotations

from typing import Any

from tenure.info import ServerInfo
from tenure_protocol import PROTOCOL_VERSION, PROTOCOL_VERSION_MIN
from tenure_protocol.errors import ProtocolViolation
from tenure_protocol.frames import HEADER_BYTES
from tenure_protocol.limits import (
    FRAME_BYTES_MAX,
    JOBS_PER_REQUEST_MAX,
    PAYLOAD_BYTES_MAX,
    RESULT_BYTES_MAX,
    WAIT_MS_MAX,
)
from tenure_protocol.wire import new_packer

HELLO_ID = 1
"""The request id of every hello; other requests have higher ones."""

LIBRARY = "tenure-python"
"""The name of this library in a hello."""

_IDLE_MS_DEFAULT = 60_000
_SESSION_BYTES = 8

_LIMITS = {
    "frame_bytes_max": FRAME_BYTES_MAX,
    "payload_bytes_max": PAYLOAD_BYTES_MAX,
    "jobs_per_request_max": JOBS_PER_REQUEST_MAX,
    "result_bytes_max": RESULT_BYTES_MAX,
    "wait_ms_max": WAIT_MS_MAX,
}


def hello_frame(name: str, resume: bytes | None) -> bytes:
    """The first frame of a connection; `resume` is the session to go on with."""
    body = new_packer()(
        [
            HELLO_ID,
            "hello",
            {
                "protocol": [PROTOCOL_VERSION_MIN, PROTOCOL_VERSION],
                "client": name,
                "session": resume,
                "library": LIBRARY,
            },
        ]
    )
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def server_info(greeting: dict[str, Any]) -> ServerInfo:
    """What the broker said of itself. Raises `ProtocolViolation` when it is no such answer."""
    session = greeting.get("session")
    protocol = greeting.get("protocol")
    if type(session) is not bytes or len(session) != _SESSION_BYTES:
        raise ProtocolViolation("the answer to hello has no session of 8 bytes")
    if type(protocol) is not int or not PROTOCOL_VERSION_MIN <= protocol <= PROTOCOL_VERSION:
        raise ProtocolViolation(f"the answer to hello chose protocol {protocol!r}")
    told = greeting.get("limits")
    told = told if isinstance(told, dict) else {}
    features = greeting.get("features")
    return ServerInfo(
        server=str(greeting.get("server", "")),
        protocol=protocol,
        session=session.hex(),
        resumed=greeting.get("resumed") is True,
        features=tuple(str(name) for name in features) if isinstance(features, list) else (),
        idle_timeout_ms=_count(greeting.get("idle_timeout_ms"), _IDLE_MS_DEFAULT),
        **{name: _count(told.get(name), default) for name, default in _LIMITS.items()},
    )


def _count(value: object, default: int) -> int:
    return value if type(value) is int and value > 0 else default


def idle_share_ms(server: ServerInfo) -> int:
    """How long the client stays silent before it pings: a third of what the broker allows."""
    return max(1, server.idle_timeout_ms // 3)
