"""`current_job().log`: lines for the log of the worker, and for whoever looks at the job."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any

from tenure.running.port import Port

LOGGER = "tenure.job"
"""The logger that the lines go to as well."""

LINE_CHARS_MAX = 1_000
"""The longest line that is kept with a job; longer ones are cut."""

_logger = logging.getLogger(LOGGER)


class JobLog:
    """Logs with fields: `job.log.info("rendered", pages=3)`.

    Each line goes to structlog if the program has imported it, else to `logging`, and travels
    to the broker, which keeps the last ones. Lines of `debug` travel only if they are logged.
    """

    __slots__ = ("_port",)

    def __init__(self, port: Port) -> None:
        self._port = port

    def debug(self, message: str, /, **fields: Any) -> None:
        """A line for who looks for a fault."""
        self._log(logging.DEBUG, "debug", message, fields)

    def info(self, message: str, /, **fields: Any) -> None:
        """A line about what happens."""
        self._log(logging.INFO, "info", message, fields)

    def warning(self, message: str, /, **fields: Any) -> None:
        """A line about what should not happen."""
        self._log(logging.WARNING, "warning", message, fields)

    def error(self, message: str, /, **fields: Any) -> None:
        """A line about what went wrong."""
        self._log(logging.ERROR, "error", message, fields)

    def _log(self, level: int, name: str, message: str, fields: dict[str, Any]) -> None:
        text = told(message, fields)
        structlog = sys.modules.get("structlog")
        if structlog is None:
            _logger.log(level, "%s", text, stacklevel=3)
        else:
            # `event` is structlog's own word for the message.
            kept = {"event_" if key == "event" else key: fields[key] for key in fields}
            getattr(structlog.get_logger(LOGGER), name)(str(message), **kept)
        if level > logging.DEBUG or _logger.isEnabledFor(level):
            stamp = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
            self._port.log(f"{stamp}Z {name} {text}"[:LINE_CHARS_MAX])


def told(message: object, fields: dict[str, Any]) -> str:
    """A message and its fields in one line."""
    parts = [str(message), *(f"{key}={_shown(value)}" for key, value in fields.items())]
    return " ".join(parts).replace("\r", "\\r").replace("\n", "\\n")


def _shown(value: object) -> str:
    if isinstance(value, str) and value and not any(c.isspace() or c in "'\"=" for c in value):
        return value
    return repr(value)
