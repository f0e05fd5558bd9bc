"""An exception that comes up at any line of a call ends that call, and harms no other.

Ctrl-C does that, and the time limit of a task, which is raised in the thread that runs it. A trace
function raises at the first line that a call runs in the link or the session, then at the second
line of the next call, and so on, until a call comes through without meeting it.
"""

from __future__ import annotations

import linecache
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ctypes import c_ulong, py_object, pythonapi
from types import FrameType
from typing import Any

import pytest

from tenure import Client
from tests.support.broker_process import BrokerProcess

MODULES = ("tenure/sync_link.py", "tenure/core/session.py", "tenure/core/link.py")
LINES_MAX = 2_000


class Interrupted(BaseException):
    """What is raised."""


def interrupted_at(line: int, call: Callable[[], object]) -> bool:
    """Whether a call was interrupted, at the so many-th line it ran in `MODULES`."""
    left = line

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.endswith(MODULES):
            return None
        # A line event of `with` comes at its end as well, before the lock is released: there
        # Python lets in no exception but that of a trace function.
        if event == "line" and not source_of(frame).startswith("with self._lock"):
            left -= 1
            if left == 0:
                raise Interrupted
        return trace

    sys.settrace(trace)
    try:
        call()
    except Interrupted:
        return True
    finally:
        sys.settrace(None)
    assert left > 0, "the exception came up and was swallowed"
    return False


def source_of(frame: FrameType) -> str:
    """The line that runs next."""
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()


def every_line(call: Callable[[], object]) -> Iterator[int]:
    """Interrupts one call after the other, each a line later than the one before."""
    for line in range(1, LINES_MAX):
        if not interrupted_at(line, call):
            assert line > 30, "the call ran hardly anything"
            return
        yield line
    raise AssertionError("the call does not end")


@pytest.fixture(autouse=True)
def traceable() -> None:
    """An exception that other tests threw into a thread and took back would hang a traced call."""
    try:
        pythonapi.PyThreadState_SetAsyncExc(c_ulong(threading.get_ident()), py_object(Interrupted))
        for _ in range(1_000):
            pass
    except Interrupted:
        pass


@pytest.fixture
def client(broker: BrokerProcess) -> Iterator[Client]:
    with Client(broker.url, timeout="10s") as made:
        yield made


@pytest.fixture
def helper() -> Iterator[ThreadPoolExecutor]:
    """Another thread."""
    with ThreadPoolExecutor(1) as made:
        yield made


def ids_in(client: Client, queue: str) -> list[str]:
    """The ids of all jobs of a queue, in order."""
    jobs, _ = client.peek(queue, limit=1_000)
    return sorted(job.id for job in jobs)


def test_what_the_thread_enqueues_next_is_stored_once(client: Client, queue: str) -> None:
    lines = every_line(lambda: client.enqueue(f"{queue}-other", "interrupted"))
    kept = [client.enqueue(queue, "kept", line) for line in lines]

    assert ids_in(client, queue) == sorted(kept)


def test_a_thread_that_waits_meanwhile_gets_its_answer(
    client: Client, queue: str, helper: ThreadPoolExecutor
) -> None:
    for line in every_line(lambda: client.enqueue(f"{queue}-other", "interrupted")):
        waiting = helper.submit(lambda: client.reserve(queue, wait="10s"))
        client.enqueue(queue, "awaited", line)

        [job] = waiting.result(10)
        assert job.payload == line
        client.ack(job)


def test_a_thread_whose_answer_the_interrupted_one_reads_gets_it(
    client: Client, queue: str, helper: ThreadPoolExecutor
) -> None:
    """The one leads while it waits for a job; the other's requests and answers pass meanwhile."""
    confirmed = []
    leads = threading.Event()

    def enqueue_two() -> list[str]:
        leads.wait(10)
        return [client.enqueue(queue, "meanwhile", number) for number in range(2)]

    def lead() -> None:
        leads.set()
        client.reserve(f"{queue}-other", wait="3ms")

    for _ in every_line(lead):
        other = helper.submit(enqueue_two)
        confirmed += other.result(10)
        leads.clear()

    assert ids_in(client, queue) == sorted(confirmed)


INTERRUPTS = 400


@pytest.fixture
def alarm() -> Iterator[None]:
    """SIGALRM raises in the main thread, at whatever it does then."""

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_signals_between_any_two_steps_harm_no_other_thread(client: Client, alarm: None) -> None:
    """Not only between lines: a call's own steps, Python's locks and what it calls are met, too."""
    stop = threading.Event()

    def others() -> int:
        answered = 0
        while not stop.is_set():
            client.ping()
            answered += 1
        return answered

    with ThreadPoolExecutor(2) as threads:
        answered = [threads.submit(others) for _ in range(2)]
        for number in range(INTERRUPTS):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0002 + number % 37 * 0.00005)
                while True:
                    client.ping()
            except Interrupted:
                pass
        stop.set()
        assert all(one.result(20) > 0 for one in answered)
