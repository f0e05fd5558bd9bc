"""What a client is made with, checked and with its defaults filled in."""

from __future__ import annotations

import os
import random
import socket
import time
from dataclasses import dataclass
from importlib.util import find_spec

from tenure.address import Address, addresses_of
from tenure.codecs import COMPRESS_OVER_BYTES, codec_number
from tenure.core.bodies import Encoding
from tenure.core.reconnect import Dialer, Reconnect
from tenure.core.session import Session
from tenure_protocol.durations import Duration, duration_ms
from tenure_protocol.limits import CLIENT_NAME_CHARS_MAX


@dataclass(frozen=True, slots=True)
class Settings:
    """How a client connects, names itself, encodes and waits."""

    addresses: tuple[Address, ...]
    name: str
    encoding: Encoding
    timeout_ms: int
    connect_timeout_ms: int
    policy: Reconnect | None

    def new_session(self) -> Session:
        """A session that has met no broker yet."""
        return Session(
            name=self.name,
            timeout_ms=self.timeout_ms,
            repeats=self.policy is not None,
            random_bytes=os.urandom,
        )

    def new_dialer(self) -> Dialer:
        """A dialer that has tried nothing yet."""
        return Dialer(self.addresses, self.policy, self.connect_timeout_ms, random.random)


def settings_of(
    url: str | None,
    *,
    name: str | None,
    codec: str,
    timeout: Duration,
    connect_timeout: Duration,
    reconnect: bool | Reconnect,
    compress_over: int | bool,
) -> Settings:
    """The settings of a client. Raises `TypeError` or `ValueError`, naming the argument."""
    if name is None:
        name = default_name()
    elif not 1 <= len(name) <= CLIENT_NAME_CHARS_MAX:
        raise ValueError(f"name must have 1 to {CLIENT_NAME_CHARS_MAX} characters")
    if not isinstance(reconnect, (bool, Reconnect)):
        raise TypeError("reconnect must be True, False or a Reconnect")
    policy = Reconnect() if reconnect is True else reconnect or None
    return Settings(
        addresses=addresses_of(url),
        name=name,
        encoding=Encoding(codec_number(codec), compress_over_bytes(compress_over)),
        timeout_ms=_positive_ms(timeout, "timeout"),
        connect_timeout_ms=_positive_ms(connect_timeout, "connect_timeout"),
        policy=policy,
    )


def _positive_ms(value: Duration, name: str) -> int:
    milliseconds = duration_ms(value, name)
    if milliseconds == 0:
        raise ValueError(f"{name} must be more than nothing")
    return milliseconds


def compress_over_bytes(value: int | bool) -> int | None:
    """From how many bytes on is compressed; None: never. Raises `ValueError`."""
    if value is False:
        return None
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"compress_over must be a number of bytes, True or False, not {value!r}")
    # A spec is found without importing: the module is loaded at the first long payload.
    if find_spec("zstandard") is None:
        raise ValueError("compress_over needs zstandard: pip install 'tenure[zstd]'")
    return COMPRESS_OVER_BYTES if value is True else value


def default_name() -> str:
    """Who a client says it is: user@host/pid."""
    user = os.environ.get("USER") or os.environ.get("LOGNAME") or f"uid{os.getuid()}"
    return f"{user}@{socket.gethostname()}/{os.getpid()}"[-CLIENT_NAME_CHARS_MAX:]


def wall_ms() -> int:
    """Milliseconds since 1970, by this machine."""
    return time.time_ns() // 1_000_000


def mono_ms() -> int:
    """Milliseconds of a clock that only goes forward."""
    return time.monotonic_ns() // 1_000_000
