"""Web pages, a hundred at a time, from a server that makes it hard.

    python -m examples.fetcher [--scale N]

The example has a server of its own, on this machine. Some of its pages are slow, some fail
with 500 at first, some break the connection in the middle of a page, some never answer; some
say 429 or 503 with Retry-After, as seconds or as a date; some are gone (404, 410), some send
the client round in circles. One `async def` task for each address, a hundred at once in one
worker. At the end both sides are compared: every page that exists was fetched whole, every
other one is a dead letter after as few requests as possible, and nobody came back before the
time the server had told. Exit code 0 only then.

What to copy:

- `async def` tasks and `-c 100`: waiting costs no thread. One aiohttp session for each worker
  process, opened by the lifespan, handed to the task by `Depends`.
- `Retry(on=…, never_on=…)`: what is worth another attempt, and what is not.
- `RetryLater(pause)` for 429 and 503: the job waits in the broker, no slot waits for it, and no
  attempt is used up. It would do so for ever, so the task counts its deliveries.
- `Permanent` for what is gone: a dead letter at once.
- `unique="{url}"`: an address that is still to be fetched is not added a second time.

An address may be fetched twice all the same: a worker that dies after the answer and before its
job is done leaves a job that runs again. For reading, that does no harm.

tasks.py        the app: the lifespan, the task, what each status means
retry_after.py  the Retry-After header, as a pause
server.py       the server that makes it hard
__main__.py     the story and its check
"""
