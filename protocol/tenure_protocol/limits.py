"""Sizes and counts that both sides enforce. Every limit has a name, and a refusal.

The broker tells its own values in the reply to `hello`; these are the defaults.
"""

from __future__ import annotations

FRAME_BYTES_MAX = 16 * 1024 * 1024
"""The longest frame body, in bytes."""

FRAME_BYTES_BEFORE_HELLO_MAX = 4 * 1024
"""The longest frame body a stranger may send."""

PAYLOAD_BYTES_MAX = 1024 * 1024
"""The longest payload of one job."""

HEADERS_MAX = 64
"""How many headers a job may carry."""

HEADERS_BYTES_MAX = 16 * 1024
"""The sum of the lengths of a job's header names and values."""

TASK_BYTES_MAX = 255
"""The longest task name, in UTF-8 bytes."""

QUEUE_NAME_CHARS_MAX = 128
"""The longest queue name."""

UNIQUE_BYTES_MAX = 200
"""The longest unique name, in UTF-8 bytes (it is a key of the store)."""

CLIENT_NAME_CHARS_MAX = 128
"""The longest name a client may give itself."""

JOBS_PER_REQUEST_MAX = 10_000
"""The most jobs or leases one request may name."""

QUEUES_PER_RESERVE_MAX = 256
"""The most queues one reserve may name."""

RESULT_BYTES_MAX = 1024 * 1024
"""The longest result of one job."""

ERROR_TYPE_CHARS_MAX = 256
"""The longest error type kept of a failure; longer ones are cut."""

ERROR_MESSAGE_CHARS_MAX = 4 * 1024
"""The longest error message kept of a failure; longer ones are cut."""

TRACEBACK_CHARS_MAX = 16 * 1024
"""The longest traceback kept of a failure; longer ones lose their beginning."""

CHECKPOINT_BYTES_MAX = 64 * 1024
"""The longest checkpoint of one job."""

PROGRESS_MESSAGE_CHARS_MAX = 500
"""The longest message kept of a job's progress; longer ones are cut."""

LOG_LINE_CHARS_MAX = 1_000
"""The longest line kept of a job's log; longer ones are cut."""

LOG_LINES_KEPT = 20
"""How many lines of a job's log are kept: the last ones."""

WORKER_INFO_BYTES_MAX = 64 * 1024
"""The longest map in which a worker tells about itself, as it travels."""

WORKER_INFO_BYTES_SURE = 4 * 1024
"""A map of so many bytes is taken from every worker, whatever others tell."""

WORKERS_BYTES_MAX = 64 * 1024 * 1024
"""What all workers tell in longer maps, together."""

STACKS_CHARS_MAX = 256 * 1024
"""The longest text of a worker's stacks; longer ones are cut."""

CHORES_RUNNING_MAX = 100
"""The most replays and purges by filter at work at a time."""

PAGE_ITEMS_MAX = 1_000
"""The most items one page of a listing returns."""

PRIORITY_MAX = 255
"""The last priority; 0 runs first."""

LEASE_MS_MIN = 100
"""The shortest lease."""

LEASE_MS_MAX = 12 * 60 * 60 * 1000
"""The longest lease: twelve hours."""

WAIT_MS_MAX = 60 * 60 * 1000
"""The longest time a request may wait in the broker: one hour."""

ATTEMPTS_MAX = 1_000
"""The most attempts a job may be given."""

TIME_MS_MAX = (1 << 48) - 1
"""The last moment a job can be scheduled for (in the year 10889)."""

RETRY_STEPS_MAX = 64
"""The most steps of a `steps` retry policy."""

NESTING_MAX = 32
"""How deep arrays and maps may stand in each other."""

FRAME_VALUES_MAX = 1_048_576
"""The most values in one frame; an array or map counts as 16 more than what it holds."""

FRAME_KEYS_MAX = 131_072
"""The most keys of all maps in one frame: each takes ten times as long to read as another value."""

SEQUENCES_REMEMBERED = 1_024
"""How many enqueue requests of each producer the broker remembers."""

ENQUEUES_UNANSWERED_MAX = 512
"""The most enqueue requests a producer keeps unanswered: half of what is remembered."""
