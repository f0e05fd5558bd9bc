"""What a worker process has: for each app its lifespan, opened once, and its runner."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tenure.running.lifespan import opened
from tenure.running.runner import Runner

if TYPE_CHECKING:
    from tenure.tasks.app import App


class Life:
    """One app on one event loop: its resources are open from `begin` to `end`."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.runner: Runner | None = None

    async def begin(self) -> Runner:
        """Open the lifespan. Raises what it raises."""
        ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        # In a task of its own: what is opened in a task must be closed in the same one.
        self._task = asyncio.create_task(self._live(ready))
        await asyncio.wait((self._task, ready), return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            await self._task
        self.runner = Runner(self._app, ready.result(), loop=asyncio.get_running_loop())
        return self.runner

    async def end(self) -> None:
        """Close the lifespan. Raises what it raises."""
        self._stop.set()
        if self._task is not None:
            await self._task

    async def _live(self, ready: asyncio.Future[Any]) -> None:
        async with opened(self._app) as resources:
            ready.set_result(resources)
            await self._stop.wait()


class Lives:
    """The lives of a worker: of each app, on each loop that its jobs were run on."""

    def __init__(self) -> None:
        self._lives: dict[tuple[App, asyncio.AbstractEventLoop], Life] = {}

    async def runner(self, app: App) -> Runner:
        """The runner of an app on the running loop; opens its lifespan at the first use."""
        key = (app, asyncio.get_running_loop())
        life = self._lives.get(key)
        if life is None:
            life = Life(app)
            runner = await life.begin()
            self._lives[key] = life
            return runner
        assert life.runner is not None, "a life that is kept has begun"
        return life.runner

    async def end(self) -> None:
        """End those of the running loop."""
        loop = asyncio.get_running_loop()
        for key in [key for key in self._lives if key[1] is loop]:
            await self._lives.pop(key).end()

    def open_loops(self) -> list[asyncio.AbstractEventLoop]:
        """Loops whose lives can still be ended."""
        loops = dict.fromkeys(loop for _, loop in self._lives)
        return [loop for loop in loops if not loop.is_closed()]
