"""Inputs made by chance, from a seed: how a target is run, and what is told when it fails."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

from tests.fuzz.bounds import CPU_S_MAX, cpu_bounded, peak_of, rss_peak_bytes
from tests.fuzz.choices import Choices
from tests.fuzz.counting import Count, Failed
from tests.fuzz.shrink import shrunk
from tests.fuzz.targets import TARGETS, Target
from tests.fuzz.values import damaged_bytes

MEASURED_EVERY = 23
"""Of so many inputs the memory of one is measured: it takes three times as long."""

KEPT_MAX = 200

CPU_S = CPU_S_MAX


def inputs_of(target: Target, seed: str) -> Iterator[bytes]:
    """Inputs for a target without an end, the same for the same seed."""
    source = random.Random(seed)
    kept = target.seeds()
    yield from kept
    while True:
        if kept and source.random() < 0.3:
            data = damaged_bytes(Choices(source.randbytes(40)), source.choice(kept))
        else:
            data = source.randbytes(source.randrange(1, target.length_max))
        if len(kept) < KEPT_MAX and source.random() < 0.05:
            kept.append(data)
        yield data


def run(name: str, seed: str, go_on: Callable[[Count], bool]) -> Count:
    """Runs a target for as long as `go_on` says. Raises `Failed`."""
    target, count = TARGETS[name], Count()
    begun = time.monotonic()
    try:
        for data in inputs_of(target, f"{seed}:{name}"):
            if not go_on(count):
                break
            _once(name, target, data, count)
            count.seconds = time.monotonic() - begun
    finally:
        target.close()
    return count


def by_chance(name: str, seed: str, runs: int | None, seconds: float | None) -> tuple[Count, int]:
    """One target in a process of its own; the count, and the most memory that the process had."""
    until = time.monotonic() + (seconds or 0)

    def go_on(count: Count) -> bool:
        return count.inputs < runs if runs is not None else time.monotonic() < until

    return run(name, seed, go_on), rss_peak_bytes()


def _once(name: str, target: Target, data: bytes, count: Count) -> None:
    count.inputs += 1
    try:
        with cpu_bounded(CPU_S):
            if count.inputs % MEASURED_EVERY:
                target.run(data)
                return
            count.measured += 1
            peak = peak_of(lambda: target.run(data))
        count.peak_bytes = max(count.peak_bytes, peak)
        if peak > target.peak_bytes_max:
            most = target.peak_bytes_max
            raise AssertionError(f"it held {peak} bytes at a time; the limit is {most}")
    except Exception as error:
        raise Failed(explained(name, target, data, error)) from error


def explained(name: str, target: Target, data: bytes, error: BaseException) -> str:
    """What failed, and how to see it again."""
    short = shrunk(target.run, data)
    return (
        f"target {name} failed: {type(error).__name__}: {error!s:.600}\n"
        f"see it again: python -m tests.fuzz --only {name} --replay {short.hex() or '-'}"
    )
