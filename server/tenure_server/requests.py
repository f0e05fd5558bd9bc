"""A frame's body as a request: `[request_id, operation, arguments]`."""

from __future__ import annotations

from typing import Any

from tenure_protocol.errors import ProtocolViolation
from tenure_protocol.wire import unpack

REQUEST_ID_MAX = 0xFFFFFFFF
"""The largest request id; 0 is for what the broker says unasked."""


def read_request(body: bytes) -> tuple[int, str, Any]:
    """The request id, the operation and its arguments (None if left out).

    Raises `ProtocolViolation`: such a connection cannot go on.
    """
    value = unpack(body)
    if type(value) is not list or len(value) < 2:
        raise ProtocolViolation("a request must be [request_id, operation, arguments]")
    request_id, op = value[0], value[1]
    if type(request_id) is not int or not 0 < request_id <= REQUEST_ID_MAX:
        raise ProtocolViolation(f"a request id must be a whole number from 1 to {REQUEST_ID_MAX}")
    if type(op) is not str:
        raise ProtocolViolation("an operation must be a text")
    return request_id, op, value[2] if len(value) > 2 else None
