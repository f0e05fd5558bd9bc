"""The story: a server that makes it hard, a worker with a hundred slots, and both their accounts."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from examples.fetcher.server import HardServer, page_of
from examples.fetcher.tasks import ATTEMPTS, CONCURRENCY, REDIRECTS_MAX, Page, app, fetch
from examples.running import ExampleError, Workers, play, stage
from tenure import AsyncJobHandle, ResultTimeout, TaskFailed

WITHIN = "90s"
LOOK_S = 1.0
CROWD = {"together": CONCURRENCY}
PAGES = {
    "quick": 60, "slow": 60, "flaky": 20, "broken": 15, "silent": 2, "limited": 40, "closed": 10,
    "missing": 5, "gone": 5, "down": 3, "circle": 2,
}  # fmt: skip
REQUESTS_OF_THE_DEAD = {"missing": 1, "gone": 1, "down": ATTEMPTS, "circle": REDIRECTS_MAX}
"""What is a dead letter in the end, and how many requests that may cost."""


class Ended(NamedTuple):
    """What became of one address: a page, or the reason why there is none."""

    page: Page | None
    failure: TaskFailed | None


def main() -> int:
    """Runs the example; its exit code."""
    parser = argparse.ArgumentParser(
        prog="fetcher", description="Web pages, a hundred at a time, from a server that is hard."
    )
    parser.add_argument("--scale", type=int, default=1, help="so many times more pages [1]")
    options = parser.parse_args()
    numbers = CROWD | {kind: count * options.scale for kind, count in PAGES.items()}
    paths = [f"/{kind}/{number}" for kind, count in numbers.items() for number in range(count)]
    with stage("fetcher", "examples.fetcher.tasks:app", "-c", str(CONCURRENCY)) as on:
        server, ended = asyncio.run(run(paths, on.workers))
        on.workers.stop()
        on.broker.stop()
    return verdict(server, ended)


async def run(paths: list[str], workers: Workers) -> tuple[HardServer, dict[str, Ended]]:
    """Serves, enqueues and waits; the server with its notes, and what became of each path."""
    begun = time.monotonic()
    async with HardServer(crowd=CONCURRENCY) as server:
        jobs = await app.aenqueue_many(fetch.s(server.url + path) for path in paths)
        again = await app.aenqueue_many(fetch.s(server.url + path) for path in paths[:10])
        known = sum(job.existing for job in again)
        print(f"{len(jobs)} addresses enqueued; of {len(again)} enqueued again {known} were known")
        workers.start_one()
        ended = asyncio.gather(*(end_of(job) for job in jobs))
        while not ended.done():
            await asyncio.wait([ended], timeout=LOOK_S)
            workers.check()
        await app.aclose()
    print(f"every job has ended after {time.monotonic() - begun:.1f} s")
    return server, dict(zip(paths, ended.result(), strict=True))


async def end_of(job: AsyncJobHandle[Page]) -> Ended:
    """Waits for the end of a job."""
    try:
        return Ended(await job.result(timeout=WITHIN), None)
    except TaskFailed as failure:
        return Ended(None, failure)
    except ResultTimeout as error:
        raise ExampleError(str(error)) from error


def verdict(server: HardServer, ended: Mapping[str, Ended]) -> int:
    """Compares what the jobs and the server say; 0 if it is right."""
    fetched, dead, requests = Counter[str](), Counter[str](), Counter[str]()
    faults = [f"{path}: came back too early" for path in server.impatient]
    for path, end in ended.items():
        kind = path.split("/")[1]
        requests[kind] += server.asked[path]
        (dead if end.page is None else fetched)[kind] += 1
        if fault := fault_of(path, kind, end, server.asked[path]):
            faults.append(f"{path}: {fault}")
    print(f"{'pages':10} {'fetched':>8} {'dead':>5} {'requests':>9}")
    for kind, number in requests.items():
        print(f"{kind:10} {fetched[kind]:8} {dead[kind]:5} {number:9}")
    for fault in faults:
        print(f"  WRONG {fault}")
    print(
        f"sum: {len(ended)} addresses = {fetched.total()} pages + {dead.total()} dead letters;"
        f" {requests.total()} requests, {server.sent_away} of them sent away,"
        f" {len(server.impatient)} came back too early; {len(faults)} wrong"
    )
    print("WRONG: see above." if faults else "Right: every page that there is, whole.")
    return 1 if faults else 0


def fault_of(path: str, kind: str, end: Ended, requests: int) -> str:
    """What is wrong with the end of one address; nothing if it is as it should be."""
    if kind in REQUESTS_OF_THE_DEAD:
        if end.failure is None:
            return "was fetched, and does not exist"
        most = REQUESTS_OF_THE_DEAD[kind]
        return f"{requests} requests, {most} would do" if requests > most else ""
    if end.page is None:
        return f"was given up: {end.failure}"
    page = page_of(path)
    is_whole = (end.page.bytes, end.page.sha256) == (len(page), hashlib.sha256(page).hexdigest())
    return "" if is_whole else f"{end.page.bytes} bytes of {len(page)}, or other ones"


if __name__ == "__main__":
    sys.exit(play(main))
