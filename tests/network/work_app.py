"""The app of the worker rounds. Its children note what they run in a file that only grows."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time

from tenure import App, current_job

NOTES_VARIABLE = "TENURE_NETWORK_NOTES"
"""The environment variable with the file of the notes."""

HOST_QUEUE = "network.host"
"""Jobs for a pool of the kind async: coroutines and threads."""

SINGLE_QUEUE = "network.single"
"""Jobs for a pool of the kind process."""

app = App(queue=HOST_QUEUE, result_ttl="1h")


def _note(event: str, key: str, digest: str) -> None:
    job = current_job()
    line = {"event": event, "key": key, "id": job.id, "attempt": job.attempt, "hash": digest,
            "t": time.monotonic(), "pid": os.getpid()}  # fmt: skip
    notes = os.open(os.environ[NOTES_VARIABLE], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(notes, json.dumps(line).encode() + b"\n")
    finally:
        os.close(notes)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@app.task
async def on_loop(key: str, data: bytes, seconds: float) -> str:
    """In the loop of a host."""
    digest = _digest(data)
    _note("begun", key, digest)
    await asyncio.sleep(seconds)
    _note("ended", key, digest)
    return digest


@app.task
def in_thread(key: str, data: bytes, seconds: float) -> str:
    """In a thread of a host."""
    return _work(key, data, seconds)


@app.task(queue=SINGLE_QUEUE)
def in_process(key: str, data: bytes, seconds: float) -> str:
    """In the main thread of a process of its own."""
    return _work(key, data, seconds)


def _work(key: str, data: bytes, seconds: float) -> str:
    digest = _digest(data)
    _note("begun", key, digest)
    time.sleep(seconds)
    _note("ended", key, digest)
    return digest
