"""The worker's side of the connection: carries out what `Consumption` decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from tenure.core import fleet, work
from tenure.core.call import Call
from tenure.core.command import Command
from tenure.errors import BrokerError, ClientClosed, Draining, TenureError, UnknownOperation
from tenure.settings import mono_ms
from tenure.worker.consumption import Consumption, Keep, Reserve
from tenure.worker.settle import Link
from tenure.worker.specs import Queues

RESERVE_WAIT_MS = 5 * 60 * 1000
"""How long a reserve waits in the broker. It is answered as soon as there is a job."""


class Feed:
    """Sends `keep` and reserves, and brings in what they are answered with.

    `took` is given the pool, the rows, and whether they are to run; `changed` is called
    after every change; `synced`, when a new connection knows our leases.
    """

    def __init__(
        self,
        link: Link,
        consumption: Consumption,
        *,
        leases: Callable[[], list[list[Any]]],
        took: Callable[[str, list[list[Any]], bool], None],
        changed: Callable[[], None],
        synced: Callable[[], None],
    ) -> None:
        self.queues: Mapping[str, Queues] = {}
        """What each pool reserves from; set before the first turn."""
        self.answered_ms = 0
        """When the broker last answered anything."""
        self.trouble: str | None = None
        """Why there is no connection, for people."""
        self._link = link
        self._consumption = consumption
        self._leases = leases
        self._took = took
        self._changed = changed
        self._synced = synced
        self._waiting: dict[asyncio.Task[None], Call] = {}

    def connection(self, is_open: bool) -> None:
        """The connection came or went."""
        if is_open:
            self.trouble = None
            self._consumption.connected()
        else:
            self._consumption.lost(mono_ms())
            self.drop()
        self._changed()

    def drop(self) -> None:
        """Give up what is outstanding. Jobs that still come are given back by the link."""
        waiting, self._waiting = self._waiting, {}
        for task, call in waiting.items():
            task.cancel()
            # A task that is cancelled before its first step does not come to do it itself;
            # its reserve would be sent on the next connection, and bring jobs to nobody.
            self._link.abandon(call)

    def turn(self, now_ms: int) -> None:
        """Send what is due."""
        for action in self._consumption.take(now_ms):
            try:
                if isinstance(action, Keep):
                    command = fleet.keep(self._leases())
                    call = self._link.submit(command)
                    self._wait(self._keep(command, call), call)
                else:
                    self._reserve(action)
            except ClientClosed:
                return

    def _wait(self, waiting: Coroutine[Any, Any, None], call: Call) -> None:
        task = asyncio.create_task(waiting)
        self._waiting[task] = call
        task.add_done_callback(lambda task: self._waiting.pop(task, None))

    def _reserve(self, action: Reserve) -> None:
        wait_ms = 0 if self._consumption.burst else RESERVE_WAIT_MS
        server = self._link.server
        most = action.max_jobs
        if server is not None:
            most = min(most, server.jobs_per_request_max)
        command = work.reserve_rows(self.queues[action.pool], most, wait_ms)
        call = self._link.submit(command)
        self._wait(self._rows(action.pool, command, call), call)

    async def _rows(self, pool: str, command: Command[list[list[Any]]], call: Call) -> None:
        consumption = self._consumption
        try:
            rows = await self._link.wait(call, command)
        except ClientClosed:
            return
        except Draining as error:
            consumption.refused(pool, str(error), mono_ms(), draining=True)
        except BrokerError as error:
            consumption.refused(pool, str(error), mono_ms())
        except (TenureError, OSError) as error:
            self.trouble = str(error)
            if consumption.broken(pool, mono_ms()):
                # `keep` takes back what the reserves of other pools are being given just now.
                self.drop()
        else:
            self.answered_ms = now_ms = mono_ms()
            run = consumption.answered(pool, len(rows), now_ms)
            if rows:
                self._took(pool, rows, run)
        self._changed()

    async def _keep(self, command: Command[int], call: Call) -> None:
        try:
            await self._link.wait(call, command)
        except ClientClosed:
            return
        except UnknownOperation:
            self._kept()  # an older broker: lost deliveries come back when their leases end
        except (TenureError, OSError) as error:
            self.trouble = str(error)
            self._consumption.keep_failed(mono_ms())
        else:
            self._kept()
        self._changed()

    def _kept(self) -> None:
        self.answered_ms = mono_ms()
        self.trouble = None
        self._consumption.kept()
        self._synced()
