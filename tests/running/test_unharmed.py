"""What the jobs of a process share is not left half done by the limit of one of them."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tenure.running.control import JobControl, unharmed
from tenure.running.softlimit import call_limited
from tenure.tasks.control import SoftTimeout

PATIENCE_S = 20.0


class Shared:
    """Something that takes a while to change, in a thread that can be met in the middle."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.meanwhile = threading.Event()
        self.whole = False

    def change(self) -> str:
        self.begun.set()
        # Python code all the time: an exception would come up here.
        while not self.meanwhile.is_set():
            pass
        self.whole = True
        return "changed"


def run_in_thread(control: JobControl, job: Callable[[], object]) -> BaseException | None:
    """What the job ended with, in a thread of its own."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(call_limited, job, None, control).exception(PATIENCE_S)


def test_a_hard_limit_waits_until_the_change_is_made() -> None:
    shared, control, after = Shared(), JobControl(), list[str]()

    def job() -> None:
        after.append(unharmed(shared.change))
        after.append("went on")

    def throw() -> None:
        shared.begun.wait(PATIENCE_S)
        control.cancel("timeout")
        shared.meanwhile.set()

    thrower = threading.Thread(target=throw)
    thrower.start()
    error = run_in_thread(control, job)
    thrower.join()

    assert isinstance(error, asyncio.CancelledError)
    assert shared.whole
    assert after == []


def test_a_soft_limit_by_signal_waits_until_the_change_is_made() -> None:
    shared = Shared()
    before = signal.getsignal(signal.SIGALRM)

    def job() -> None:
        def ring_meanwhile() -> str:
            shared.begun.set()
            signal.raise_signal(signal.SIGALRM)
            shared.whole = True
            return "changed"

        unharmed(ring_meanwhile)
        raise AssertionError("the limit is over")

    with pytest.raises(SoftTimeout):
        call_limited(job, 60_000, JobControl())

    assert shared.whole
    assert signal.getsignal(signal.SIGALRM) is before


def test_what_was_not_thrown_meanwhile_is_thrown_as_ever() -> None:
    control, begun = JobControl(), threading.Event()

    def job() -> None:
        assert unharmed(lambda: 7) == 7
        begun.set()
        while True:
            pass

    def throw() -> None:
        begun.wait(PATIENCE_S)
        control.cancel("lease_lost")

    thrower = threading.Thread(target=throw)
    thrower.start()
    error = run_in_thread(control, job)
    thrower.join()

    assert isinstance(error, asyncio.CancelledError)


def test_a_process_can_be_traced_after_a_limit_came_too_late() -> None:
    """A limit that is thrown and taken back before it arrives is forgotten by the interpreter, too."""
    code = """
import sys, threading
from ctypes import c_ulong, pythonapi
from tenure.running.control import ThreadGuard

guards, gate = [], threading.Lock()
begun = threading.Event()
gate.acquire()

def job():
    guards.append(ThreadGuard())
    begun.set()
    gate.acquire()
    guards[0].close()

thread = threading.Thread(target=job)
thread.start()
begun.wait(10)
guards[0].throw(ValueError)
pythonapi.PyThreadState_SetAsyncExc(c_ulong(thread.ident), None)
gate.release()
thread.join()

def traced():
    return 7

sys.settrace(lambda *_: None)
print(traced())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )

    assert (done.stdout, done.stderr) == ("7\n", "")


def test_outside_a_job_nothing_is_held_back() -> None:
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(unharmed, lambda: "done").result(PATIENCE_S) == "done"
