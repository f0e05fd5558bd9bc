"""The app of the fetcher: `tenure worker examples.fetcher.tasks:app -c 100`."""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp

from examples.fetcher.retry_after import pause_s
from tenure import App, Depends, Permanent, Retry, RetryLater, current_job

CONCURRENCY = 100
ATTEMPTS = 5
DELIVERIES_MAX = 50
"""A server that says "later" for ever is given up after so many times."""
PAGE_BYTES_MAX = 4 << 20
CONNECTS_WITHIN_S = 5.0
ANSWERS_WITHIN_S = 6.0
"""How long a server may be silent, before the page and within it."""
REDIRECTS_MAX = 5
SPREAD = 0.2
"""Those who were sent away together shall not come back together: up to so much later."""

app = App(name="fetcher", queue="pages")


@dataclass(frozen=True, slots=True)
class Page:
    """What a job leaves: not the page but what it was."""

    url: str
    bytes: int
    sha256: str
    attempt: int


@app.lifespan
async def web() -> AsyncIterator[aiohttp.ClientSession]:
    """One session for each worker process, so that connections are used again."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONCURRENCY),
        # Jobs know nothing of each other: one must not send what another was given.
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "tenure-example-fetcher"},
        # The whole has its limit in the task's timeout.
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECTS_WITHIN_S, sock_read=ANSWERS_WITHIN_S
        ),
    ) as session:
        yield session


def opened(resources: aiohttp.ClientSession) -> aiohttp.ClientSession:
    """The session that the lifespan opened."""
    return resources


@app.task(
    retry=Retry(
        max_attempts=ATTEMPTS,
        base="200ms",
        factor=2,
        # Broken connections and pages, time-outs, and statuses such as 500.
        on=(aiohttp.ClientError, TimeoutError),
        # An address that is none and a redirect in circles would only be the same again.
        never_on=(aiohttp.InvalidURL, aiohttp.TooManyRedirects),
    ),
    timeout="30s",
    unique="{url}",
    result_ttl="1h",
)
async def fetch(url: str, session: aiohttp.ClientSession = Depends(opened)) -> Page:
    """Fetches one page."""
    async with session.get(url, max_redirects=REDIRECTS_MAX) as answer:
        judge(answer)
        body = await whole(answer)
    return Page(url, len(body), hashlib.sha256(body).hexdigest(), current_job().attempt)


def judge(answer: aiohttp.ClientResponse) -> None:
    """Returns if there is a page to read, and raises what shall become of the job if not."""
    status = answer.status
    if status in (429, 503):
        job = current_job()
        if job.attempt >= DELIVERIES_MAX:
            raise Permanent(f"{status}, and has said so {DELIVERIES_MAX} times")
        pause = pause_s(
            answer.headers.get("Retry-After"), answer.headers.get("Date"), datetime.now(UTC)
        )
        raise RetryLater(pause * random.uniform(1, 1 + SPREAD), f"{status}: later")
    # A request time-out and "too early" pass; whatever else is 4xx is our own fault.
    if 400 <= status < 500 and status not in (408, 425):
        raise Permanent(f"{status} {answer.reason}")
    answer.raise_for_status()


async def whole(answer: aiohttp.ClientResponse) -> bytes:
    """The body, which must not be without end. Raises `Permanent` when it is too long."""
    body = bytearray()
    async for part in answer.content.iter_any():
        body += part
        if len(body) > PAGE_BYTES_MAX:
            raise Permanent(f"longer than {PAGE_BYTES_MAX} bytes")
    return bytes(body)
