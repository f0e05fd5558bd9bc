"""The whole story: a broker, workers, real files, two kill -9s, and a sum that must be right.

Exit code 0 only if every file ended exactly once, in the results or rightly in the
dead-letter queue, although a worker and the broker were killed in the middle.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from examples.running import Broker, ExampleError, Workers, play, stage
from examples.stdlib_census.analyse import Findings, UnparsableError, analyse
from examples.stdlib_census.ledger import DeadLetter, add_up
from examples.stdlib_census.tasks import LIBRARY, QUEUE, analyse_file, app
from examples.stdlib_census.view import View, show_dead, show_findings, show_sum
from tenure import Client, JobInfo

PREFETCH = 4
"""Files that a worker has at hand beyond those it works on: parsing one takes milliseconds."""
POLL_S = 0.05
WORKER_DIES_AFTER = 0.15
"""The share of the work that is done when a worker is killed."""
BROKER_DIES_AFTER = 0.45
PAGE = 1000


class Outcome(NamedTuple):
    """What the broker holds when the work is over."""

    results: list[Findings]
    dead: list[DeadLetter]
    redelivered: int
    deliveries: int


def main() -> int:
    """Runs the demo; its exit code."""
    parser = argparse.ArgumentParser(
        prog="stdlib_census", description="A census of the standard library."
    )
    parser.add_argument("--limit", type=int, help="take only so many files")
    parser.add_argument("--workers", type=int, default=3, help="worker processes [3]")
    parser.add_argument("--timeout", type=float, default=120, help="give up after so many seconds")
    options = parser.parse_args()
    console = Console()
    sizes = files_of(LIBRARY, options.limit)
    arguments = ("--pool", "process", "-c", "1", "--prefetch", str(PREFETCH))
    with stage("census", "examples.stdlib_census.tasks:app", *arguments) as on:
        outcome = run(console, sizes, options, on.broker, on.workers)
        app.close()
        on.workers.stop()
        on.broker.stop()
    return verdict(console, sizes, outcome)


def files_of(library: Path, limit: int | None) -> dict[str, int]:
    """The Python files of the standard library with their sizes; with a limit, an even sample.

    The deliberately broken ones among the library's tests are in every sample.
    """
    found = {
        path.relative_to(library).as_posix(): path.stat().st_size
        for path in sorted(library.rglob("*.py"))
        if "site-packages" not in path.parts
    }
    if limit is None or limit >= len(found):
        return found
    # False before True: files named bad something come first.
    by_chance = sorted(found, key=lambda path: "bad" not in path.rpartition("/")[2])
    certain = [path for path in by_chance if "bad" in path.rpartition("/")[2]][: limit // 4]
    others = [path for path in by_chance if path not in set(certain)]
    step = len(others) / max(limit - len(certain), 1)
    chosen = certain + [others[int(n * step)] for n in range(limit - len(certain))]
    return {path: found[path] for path in chosen}


def run(
    console: Console,
    sizes: dict[str, int],
    options: argparse.Namespace,
    broker: Broker,
    workers: Workers,
) -> Outcome:
    """Enqueues, works, kills, and collects what is there in the end."""
    begun = time.monotonic()
    jobs = app.enqueue_many(analyse_file.s(path) for path in sizes)
    console.print(
        f"{len(jobs):,} files of the standard library enqueued, durably, in"
        f" {time.monotonic() - begun:.2f} s (broker pid {broker.pid})",
        highlight=False,
        soft_wrap=True,
    )
    for _ in range(options.workers):
        workers.start_one()
    with View(console, len(sizes)) as view:
        watch(view, len(sizes), begun + options.timeout, broker, workers)
    console.print(f"done after {time.monotonic() - begun:.1f} s", highlight=False)
    return collect(app.client)


def watch(view: View, total: int, ends: float, broker: Broker, workers: Workers) -> None:
    """Follows the work to its end and kills a worker and the broker on the way."""
    worker_lives = broker_lives = True
    while True:
        counts = app.client.queue(QUEUE).counts
        view.progress(counts)
        ended = counts["succeeded"] + counts["dead"]
        if ended >= total:
            break
        if time.monotonic() > ends:
            raise ExampleError(f"not done in time; the queue holds {dict(counts)}")
        workers.check()
        if worker_lives and ended >= total * WORKER_DIES_AFTER:
            worker_lives = not kill_a_worker(view, workers)
        elif broker_lives and not worker_lives and ended >= total * BROKER_DIES_AFTER:
            kill_the_broker(view, broker)
            broker_lives = False
        time.sleep(POLL_S)
    if worker_lives or broker_lives:
        raise ExampleError("the work was over before anybody was killed; take more files")


def kill_a_worker(view: View, workers: Workers) -> bool:
    """Kills a worker that holds jobs, and starts another; whether there was one."""
    held: dict[str, int] = {}
    for job in app.client.peek(QUEUE, "leased", limit=PAGE, bodies=False).jobs:
        name = (job.worker or "").partition("@")[0]
        held[name] = held.get(name, 0) + 1
    name = max(held, key=lambda each: held[each], default="")
    if not name:
        return False
    pid = workers.kill(name)
    view.event(f"kill -9 {pid}: {name}, which held {held[name]} jobs; another one is started")
    workers.start_one()
    return True


def kill_the_broker(view: View, broker: Broker) -> None:
    """Kills the broker and starts it again over the same files."""
    pid = broker.pid
    broker.kill()
    begun = time.monotonic()
    broker.start()
    seconds = time.monotonic() - begun
    view.event(
        f"kill -9 {pid}: the broker; it serves again after {seconds:.2f} s, pid {broker.pid}"
    )


def collect(client: Client) -> Outcome:
    """Everything that ended, fetched from the broker page by page."""
    succeeded = list(pages(client, "succeeded"))
    dead = list(pages(client, "dead"))
    return Outcome(
        results=[job.result for job in succeeded],
        dead=[
            DeadLetter(job.payload["path"], job.error_message or "", job.attempt) for job in dead
        ],
        redelivered=sum(job.attempt > 1 for job in (*succeeded, *dead)),
        deliveries=sum(job.attempt for job in (*succeeded, *dead)),
    )


def pages(client: Client, state: str) -> Iterator[JobInfo]:
    """All jobs of the queue in one state."""
    cursor: bytes | None = None
    while True:
        page = client.peek(QUEUE, state, limit=PAGE, cursor=cursor)
        yield from page.jobs
        cursor = page.cursor
        if cursor is None:
            return


def verdict(console: Console, sizes: dict[str, int], outcome: Outcome) -> int:
    """Shows findings and sum; 0 if the sum is right."""
    total = add_up(
        sizes, outcome.results, outcome.dead, [d.path for d in outcome.dead if parses(d)]
    )
    show_findings(console, outcome.results)
    show_dead(console, outcome.dead)
    show_sum(console, total, outcome.redelivered, outcome.deliveries)
    console.print(f"sum: {total}; {outcome.redelivered} delivered more than once", soft_wrap=True)
    if total.is_right:
        console.print("Right: nothing lost, nothing missing, nothing twice.", style="bold green")
    else:
        console.print("WRONG: see above.", style="bold red")
    return 0 if total.is_right else 1


def parses(letter: DeadLetter) -> bool:
    """Whether a file among the dead can be parsed after all: done again, here."""
    try:
        analyse(letter.path, (LIBRARY / letter.path).read_bytes())
    except UnparsableError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(play(main))
