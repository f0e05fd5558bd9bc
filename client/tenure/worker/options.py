"""What a worker is started with, checked."""

from __future__ import annotations

from dataclasses import dataclass, field

from tenure.worker.recycle import Limits
from tenure.worker.specs import PoolSpec, Queues

GRACE_MS_DEFAULT = 30_000
HEARTBEAT_MS_DEFAULT = 5_000
HEARTBEAT_MS_MIN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """Everything `tenure worker` takes.

    - `app`: MODULE:APP, imported by the children only; `app_dir` goes first on their path.
    - `url`: None for what the app itself says.
    - `queues`: None for the queues of the app's tasks.
    - `heartbeat_ms`: leases are extended at least so often, or at a third of their length.
    """

    app: str
    name: str
    pools: tuple[PoolSpec, ...]
    url: str | None = None
    queues: Queues | None = None
    app_dir: str | None = None
    reload: bool = False
    burst: bool = False
    grace_ms: int = GRACE_MS_DEFAULT
    heartbeat_ms: int = HEARTBEAT_MS_DEFAULT
    limits: Limits = field(default_factory=Limits)
    health: tuple[str, int] | None = None
    health_file: str | None = None
    log_format: str = "console"
