"""The part of the settings that the engine takes."""

from __future__ import annotations

from tenure_server.config import Config
from tenure_server.engine import EngineLimits


def engine_limits(config: Config) -> EngineLimits:
    """The engine's part of the settings."""
    limits, queues = config.limits, config.queues
    return EngineLimits(
        leases_max=limits.leases,
        queues_max=limits.queues,
        waiting_max=limits.waiting,
        window_bytes_max=limits.window_bytes_max,
        payload_bytes_max=limits.payload_bytes_max,
        result_bytes_max=limits.result_bytes_max,
        jobs_per_request_max=limits.jobs_per_request,
        reply_bytes_max=limits.frame_bytes_max // 2,
        producer_rows_max=limits.producer_rows,
        producer_ttl_ms=config.timeouts.producer_ms,
        auto_create_queues=queues.auto_create,
        queue_defaults={
            "lease_ms": queues.lease_ms,
            "max_attempts": queues.max_attempts,
            "retry": queues.retry,
            "priority": queues.priority,
            "max_jobs": queues.max_jobs,
            "max_bytes": queues.max_bytes,
            "retention_ms": queues.retention_ms,
            "ended_retention_ms": queues.ended_retention_ms,
            "dead_retention_ms": queues.dead_retention_ms,
            "dlq": queues.dlq,
            "poison_after": queues.poison_after,
            "durability": queues.durability,
        },
    )
