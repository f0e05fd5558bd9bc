"""One round of the worker: jobs for all its pools through bad weather, and the verdict."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from tenure import Client
from tests.network import work_app
from tests.network.judge import Report
from tests.network.profiles import is_slow, plan
from tests.network.proxy import FaultProxy
from tests.worker.processes import WorkerProcess, eventually, using_url

LONG_LEASE_S = 60.0
"""A lease that outlives every round: then each job runs exactly once."""

SHORT_LEASE_S = 1.0
"""A lease that partitions outlive: then a job may run again, but not before its lease is over."""

RECOVERY_S_MAX = 240.0
"""How long a worker may take to start, and after the bad weather to be done, on a busy machine."""

_QUEUES = (work_app.HOST_QUEUE, work_app.SINGLE_QUEUE)
_FILES_PER_CHILD = 3


class Sent(NamedTuple):
    """A job that was enqueued."""

    key: str
    hash: str


def run_worker_round(profile: str, seed: int, seconds: float, url: str, scratch: Path) -> Report:
    """Let a worker work through bad weather for `seconds`; what came of it."""
    report = Report()
    strict = profile != "lapses"
    lease_s = LONG_LEASE_S if strict else SHORT_LEASE_S
    scratch.mkdir(parents=True, exist_ok=True)
    notes = scratch / "notes"
    with Client(url, name="judge") as direct, using_url(url):
        for queue in _QUEUES:
            direct.delete_queue(queue, force=True) if _exists(direct, queue) else None
            direct.create_queue(queue, lease=lease_s, max_attempts=1_000, poison_after=0)
        with FaultProxy(url, seed) as proxy:
            sent = _work_through(proxy, direct, profile, seed, seconds, scratch, notes, report)
            report.counts.update({f"fault {name}": n for name, n in proxy.faults.items()})
        _check_jobs(direct, sent, lease_s, strict, report)
        check_runs(_noted(notes), sent, strict, report)
        work_app.app.close()
    return report


def _exists(direct: Client, queue: str) -> bool:
    return any(info.name == queue for info in direct.queues(queue))


def _work_through(
    proxy: FaultProxy,
    direct: Client,
    profile: str,
    seed: int,
    seconds: float,
    scratch: Path,
    notes: Path,
    report: Report,
) -> dict[str, Sent]:
    environment = {work_app.NOTES_VARIABLE: str(notes)}
    root = Path(__file__).resolve().parents[2]
    words = [f"--pool=host=async:8:{_QUEUES[0]}", f"--pool=single=process:2:{_QUEUES[1]}"]
    with WorkerProcess(
        proxy.url, scratch, *words, "--health-file", str(scratch / "worker.ready"),
        app="tests.network.work_app:app", app_dir=root, environment=environment,
    ) as worker:  # fmt: skip
        eventually(worker.health_file.exists, RECOVERY_S_MAX)
        files = _files_beside_children(worker)
        playing = proxy.play(plan(profile, seed, seconds))
        sent: dict[str, Sent] = {}
        rng = random.Random(f"jobs {profile} {seed}")
        while not playing.done():
            sent.update(_enqueue(rng, len(sent), small=is_slow(profile)))
            _wait_for_room(direct, playing.done)
        playing.result()
        _wait_until_done(direct, worker, report)
        eventually(lambda: _files_beside_children(worker) <= files, RECOVERY_S_MAX)
        worker.signal(signal.SIGTERM)
        code = worker.wait(RECOVERY_S_MAX)
        if code != 0:
            report.blame("orderly end", f"the worker ended with {code}:\n{worker.log}")
        report.counts["lost connections"] += worker.log.count("the connection is lost")
        if "Traceback" in worker.log:
            report.blame("typed errors", f"the worker wrote a traceback:\n{worker.log}")
    return sent


def _enqueue(rng: random.Random, number: int, *, small: bool) -> dict[str, Sent]:
    sent, calls = {}, []
    for key in (f"job-{number + n}" for n in range(rng.choice([1, 5, 20]))):
        data = rng.randbytes(rng.randrange(100 if small else 2_000))
        task = rng.choice([work_app.on_loop, work_app.in_thread, work_app.in_process])
        seconds = rng.choice([0.0, 0.0, 0.01, 0.05, 0.05, 1.5 if rng.random() < 0.1 else 0.1])
        calls.append(task.s(key, data, seconds))
        sent[key] = Sent(key, hashlib.sha256(data).hexdigest())
    handles = list(work_app.app.enqueue_many(calls))
    return {handle.id: job for handle, job in zip(handles, sent.values(), strict=True)}


def _wait_for_room(direct: Client, over: Any) -> None:
    """Until the worker has little to do, so that it is the network that it waits for."""
    while not over() and sum(direct.queue(queue).jobs for queue in _QUEUES) > 60:
        time.sleep(0.02)


def _wait_until_done(direct: Client, worker: WorkerProcess, report: Report) -> None:
    began = time.monotonic()
    while any(direct.queue(queue).jobs for queue in _QUEUES):
        if time.monotonic() - began > RECOVERY_S_MAX:
            report.blame("every job is run", f"jobs are left after the storm:\n{worker.log}")
            worker.signal(signal.SIGUSR2)
            return
        time.sleep(0.02)
    report.latest_s = time.monotonic() - began


def _files_beside_children(worker: WorkerProcess) -> int:
    """The worker's descriptors but for those of its children, whose number changes."""
    children = worker.children()
    return len(os.listdir(f"/proc/{worker.pid}/fd")) - _FILES_PER_CHILD * len(children)


def _noted(notes: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in notes.read_text().splitlines()]


def _check_jobs(
    direct: Client, sent: dict[str, Sent], lease_s: float, strict: bool, report: Report
) -> None:
    """What the broker says of each job: succeeded, with the right result, unharmed."""
    report.counts["confirmed"] += len(sent)
    for job_id, job in sent.items():
        info = direct.get(job_id)
        if info.state != "succeeded" or info.result != job.hash:
            report.blame("every job is run", f"{job.key} ({job_id}) is {info.state}")
        report.counts["redeliveries"] += info.attempt > 1
        report.counts["lost leases"] += info.lost
        if strict and (info.lost or info.failures or info.timeouts):
            report.blame("unharmed", f"{job.key} lost {info.lost}, failed {info.failures}")
        for attempt, following in pairwise(info.history):
            if attempt.ended_at_ms > following.started_at_ms:
                report.blame("exclusive", f"{job.key}: {attempt} and {following}")
        for attempt in info.history:
            held = attempt.ended_at_ms - attempt.started_at_ms
            if attempt.outcome == "lost" and held < lease_s * 1_000:
                report.blame("exclusive", f"{job.key} was taken away early: {attempt}")
    enqueued = sum(direct.queue(queue).totals["enqueued"] for queue in _QUEUES)
    if enqueued != len(sent):
        report.blame("counts", f"{len(sent)} jobs were confirmed, the broker took {enqueued}")


def check_runs(
    notes: list[dict[str, Any]], sent: dict[str, Sent], strict: bool, report: Report
) -> None:
    """What the children saw: every job, its own bytes, each attempt once."""
    begun: Counter[tuple[str, int]] = Counter()
    ended: set[str] = set()
    runs: Counter[str] = Counter()
    for note in notes:
        job = sent.get(note["id"])
        if job is None or (job.key, job.hash) != (note["key"], note["hash"]):
            report.blame("nothing from nowhere", f"{note['key']} ran as {note['id']}")
        if note["event"] == "begun":
            begun[note["id"], note["attempt"]] += 1
            runs[note["id"]] += 1
        else:
            ended.add(note["id"])
    report.counts["runs"] += runs.total()
    for (job_id, attempt), times in begun.items():
        if times > 1:
            report.blame("exclusive", f"attempt {attempt} of {job_id} ran {times} times")
    for job_id, job in sent.items():
        report.counts["run again"] += runs[job_id] > 1
        if job_id not in ended:
            report.blame("every job is run", f"{job.key} succeeded and never ran to its end")
        if strict and runs[job_id] != 1:
            report.blame("exactly once", f"{job.key} ran {runs[job_id]} times within a lease")
