"""What everything does just now: the table of slots, and the stacks of all children."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import count

from tenure.worker import pipe
from tenure.worker.children import Child
from tenure.worker.consumption import Consumption
from tenure.worker.pool import Pool
from tenure.worker.recycle import rss_of
from tenure_protocol.durations import format_ms

ANSWER_S = 1.0
"""How long a child may take to tell its stacks before it is made to."""

DUMP_S = 0.3
"""How long the interpreter's own handler may take to write them."""

_JOBS_SHOWN_MAX = 200


def slots_table(pools: Iterable[Pool], consumption: Consumption, now_ms: int) -> str:
    """The pools, their children and their jobs, for people."""
    lines = [f"worker: {consumption.state}"]
    if consumption.trouble:
        lines.append(f"  trouble: {consumption.trouble}")
    for pool in pools:
        slots, line = pool.slots, consumption.lines[pool.name]
        lines.append(
            f"pool {pool.name} ({pool.spec.kind}): {slots.held} held, {slots.free} free of"
            f" {slots.size}, {line.asked} asked for"
        )
        for child in pool.children:
            age = format_ms(now_ms - child.started_ms)
            mib = rss_of(child.pid) // (1024 * 1024)
            lines.append(
                f"  {child.role} {child.pid} {child.state}: {len(child.jobs)} jobs,"
                f" {child.served} served, {mib} MiB, up {age}"
            )
            for held in list(child.jobs.values())[:_JOBS_SHOWN_MAX]:
                ran = format_ms(now_ms - held.started_ms) if held.started_ms else "not begun"
                lines.append(f"    {held.name} attempt {held.attempt} {held.task}: {ran}")
        waiting = sum(len(crew.waiting) for crew in pool.crews)
        if waiting:
            lines.append(f"  waiting: {waiting}")
    return "\n".join(lines) + "\n"


class Stacks:
    """Asks children for their stacks and gathers the answers."""

    def __init__(self) -> None:
        self._tokens = count(1)
        self._waiting: dict[int, asyncio.Future[str]] = {}

    def told(self, token: int, text: str) -> None:
        """A child answered."""
        future = self._waiting.get(token)
        if future is not None and not future.done():
            future.set_result(text)

    async def gather(self, children: Iterable[Child]) -> str:
        """The stacks of all children, one after the other."""
        texts = await asyncio.gather(*(self._of(child) for child in children))
        return "\n".join(texts)

    async def _of(self, child: Child) -> str:
        token = next(self._tokens)
        future = self._waiting[token] = asyncio.get_running_loop().create_future()
        heading = f"-- {child.role} {child.pid} ({child.state})\n"
        if child.state not in ("ready", "leaving"):
            return heading
        child.send([pipe.STACKS, token])
        try:
            text: str = await asyncio.wait_for(future, ANSWER_S)
            return heading + text
        except TimeoutError:
            before = child.written
            child.dump_stacks()
            await asyncio.sleep(DUMP_S)
            wrote = child.last_lines[-(child.written - before) :] if child.written > before else ""
            return f"{heading}(no answer: something holds the interpreter lock)\n{wrote}"
        finally:
            del self._waiting[token]
