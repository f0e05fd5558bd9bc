"""Listening sockets: opened before anything else so that a taken port is one clear line."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket

from tenure_server import exits
from tenure_server.config_values import Address
from tenure_server.connection import Connection
from tenure_server.hub import Hub
from tenure_server.log import get_log

BACKLOG = 1_024
"""How many connections the system may hold that were not accepted yet."""
FILES_BESIDE_CONNECTIONS = 128
"""Descriptors for everything but client connections: the store, HTTP, the log, closing connections."""


def bind(address: Address, what: str) -> list[socket.socket]:
    """Sockets bound to `address`, one per family of its host; with port 0 only the first.

    Raises `StartError` that says what to do.
    """
    bound: list[socket.socket] = []
    failure: OSError | None = None
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise exits.StartError(
            f"{what} {address}: the host is unknown here: {error}", exits.UNAVAILABLE
        ) from error
    for family, kind, protocol, _, target in dict.fromkeys(found):
        try:
            bound.append(_bind_one(family, kind, protocol, target))
        except OSError as error:
            # "localhost" may name an address family this machine lacks.
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                for each in bound:
                    each.close()
                raise _refused(address, what, error) from error
            failure = error
        if bound and address.port == 0:
            break
    if not bound:
        assert failure is not None
        raise _refused(address, what, failure)
    return bound


def _bind_one(
    family: int, kind: int, protocol: int, target: tuple[str | int, ...] | tuple[int, bytes]
) -> socket.socket:
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(target)
        # Listening is what fails when two processes race for a port.
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _refused(address: Address, what: str, error: OSError) -> exits.StartError:
    if error.errno == errno.EADDRINUSE:
        return exits.StartError(
            f"{what} {address}: the address is in use; is another broker running? Choose another port",
            exits.UNAVAILABLE,
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return exits.StartError(
            f"{what} {address}: this user may not open port {address.port}; use one above 1023",
            exits.NO_PERMISSION,
        )
    return exits.StartError(f"{what} {address}: {error.strerror or error}", exits.UNAVAILABLE)


async def serve(hub: Hub, sockets: list[socket.socket]) -> list[asyncio.Server]:
    """Starts to accept clients on `sockets`."""
    loop = asyncio.get_running_loop()
    return [
        await loop.create_server(lambda: Connection(hub), sock=each, backlog=BACKLOG)
        for each in sockets
    ]


def address_of(listening: socket.socket) -> Address:
    """Where a socket listens."""
    host, port = listening.getsockname()[:2]
    return Address(str(host), int(port))


def is_public(address: Address) -> bool:
    """Whether other machines may reach a socket at `address`."""
    return not (address.host.startswith("127.") or address.host in ("::1", "localhost"))


def connections_within_files(wanted: int) -> int:
    """How many connections the process may hold, after raising its limit of open files if it can."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + FILES_BESIDE_CONNECTIONS
    if soft != resource.RLIM_INFINITY and soft < needed:
        target = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
            soft = target
        except (OSError, ValueError):
            pass
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    possible = max(soft - FILES_BESIDE_CONNECTIONS, 1)
    get_log().warning(
        "open_files_limit", wanted=wanted, connections=possible, open_files=soft, pid=os.getpid()
    )
    return possible
