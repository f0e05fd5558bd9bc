"""What the operator reads: one line per event, on standard error.

Console on a terminal, JSON otherwise. Text from outside cannot forge or break a line:
control characters are escaped and long values cut. Payloads are never logged.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Protocol, TextIO

# structlog loads rich where it is installed, a third of all the time that a start takes; nothing
# here is printed with it. A program that has loaded it already keeps it.
_without_rich = "rich" not in sys.modules
if _without_rich:
    sys.modules["rich"] = None  # type: ignore[assignment]
import structlog  # noqa: E402

if _without_rich:
    del sys.modules["rich"]

FIELD_CHARS_MAX = 512
"""Longer text values are cut."""
FLOOD_LINES = 10
"""How many lines of one event may be written per window."""
FLOOD_WINDOW_MS = 10_000

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_MULTILINE = frozenset({"exception", "stacks"})

Event = MutableMapping[str, Any]


class Log(Protocol):
    """What writes lines: structlog's bound logger, as far as the shell uses it."""

    def debug(self, event: str, **fields: Any) -> Any:
        """For developers."""
        ...

    def info(self, event: str, **fields: Any) -> Any:
        """Something an operator may want to know."""
        ...

    def warning(self, event: str, **fields: Any) -> Any:
        """Something an operator should look at."""
        ...

    def error(self, event: str, **fields: Any) -> Any:
        """Something an operator must look at."""
        ...


_guest_log: Log | None = None


def get_log() -> Log:
    """The log, as last configured."""
    if _guest_log is not None:
        return _guest_log
    log: Log = structlog.get_logger()
    return log


def log_to(log: Log | None) -> None:
    """Sends every line to `log`: for a program that has a broker inside. None ends it."""
    global _guest_log
    _guest_log = log


def configure(*, level: str, style: str, stream: TextIO | None = None) -> None:
    """Sets what is logged and how: `style` is "console", "json" or "auto". May be called again."""
    terminal = (stream or sys.stderr).isatty()
    console = style == "console" or (style == "auto" and terminal)
    renderer: Any
    if console:
        colours = terminal and not os.environ.get("NO_COLOR")
        renderer = structlog.dev.ConsoleRenderer(
            colors=colours, exception_formatter=structlog.dev.plain_traceback
        )
    else:
        renderer = structlog.processors.JSONRenderer(serializer=_dumps)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _clean,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: _Lines(stream),
        cache_logger_on_first_use=False,
    )
    _adopt_stdlib(level)


class FloodGate:
    """Lets a few lines of each event through per window and counts the rest."""

    def __init__(self) -> None:
        self._written: dict[str, int] = {}
        self._window_ends_ms = 0

    def admits(self, event: str, mono_ms: int) -> bool:
        """Whether this line may be written now."""
        if mono_ms >= self._window_ends_ms:
            self._close_window(mono_ms)
        count = self._written.get(event, 0) + 1
        self._written[event] = count
        return count <= FLOOD_LINES

    def _close_window(self, mono_ms: int) -> None:
        kept_back = {e: n - FLOOD_LINES for e, n in self._written.items() if n > FLOOD_LINES}
        self._written.clear()
        self._window_ends_ms = mono_ms + FLOOD_WINDOW_MS
        for event, count in kept_back.items():
            get_log().warning("lines_suppressed", of=event, count=count)


def write(level: str, event: str, fields: Mapping[str, object]) -> None:
    """A line whose level is only known at run time."""
    log = get_log()
    {"debug": log.debug, "info": log.info, "warning": log.warning}.get(level, log.error)(
        event, **{("field_" + k if k == "event" else k): v for k, v in fields.items()}
    )


def escaped(text: str, chars_max: int = FIELD_CHARS_MAX) -> str:
    """`text` on one line, harmless on a terminal, and not too long."""
    shown = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text[: chars_max + 1])
    return shown if len(text) <= chars_max else shown[:chars_max] + "…"


class _Lines:
    """Writes lines. A log that cannot be written is no reason to stop the broker."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def msg(self, message: str) -> None:
        out = self._stream or sys.stderr
        try:
            out.write(message + "\n")
            out.flush()
        except (OSError, ValueError):
            pass

    debug = info = warning = warn = error = critical = exception = fatal = log = msg


def _clean(_: object, __: str, event: Event) -> Event:
    for key, value in event.items():
        if key in _MULTILINE:
            continue
        if isinstance(value, str):
            event[key] = escaped(value)
        elif isinstance(value, bytes):
            event[key] = value[:64].hex()
        elif not isinstance(value, (int, float, bool, type(None))):
            event[key] = escaped(repr(value))
    return event


def _dumps(event: Event, **_: object) -> str:
    first = {key: event.pop(key, None) for key in ("timestamp", "level", "event")}
    return json.dumps({**first, **event}, default=repr)


class _ToOurLog(logging.Handler):
    """Lines of libraries (uvicorn, asyncio) go the same way as ours."""

    def emit(self, record: logging.LogRecord) -> None:
        write(
            record.levelname.lower(),
            "library_message",
            {
                "library": record.name,
                "message": record.getMessage(),
                **({"exc_info": record.exc_info} if record.exc_info else {}),
            },
        )


def _adopt_stdlib(level: str) -> None:
    for name in ("uvicorn.error", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers = [_ToOurLog()]
        logger.propagate = False
        # Their info lines repeat ours.
        logger.setLevel(max(_LEVELS["warning"], _LEVELS[level]))
