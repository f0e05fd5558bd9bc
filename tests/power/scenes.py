"""What runs while calls fail: a broker from its start to its stop, a backup, a compaction, ..."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tenure import Client
from tenure.errors import BrokerError, TenureError
from tests.power.client import Actor, Lost
from tests.power.disk import Disk
from tests.power.promises import GONE, Promises, State
from tests.power.recovery import STATES, look_apart
from tests.power.trace import Marker, Op, read_trace
from tests.power.workloads import old_store
from tests.power.zygote import NEVER, Failure, Zygote

END_S_MAX = 60.0
_LOOK_S = 0.003


class Scene:
    """One run: a directory, a recording, and the processes in it."""

    def __init__(
        self, zygote: Zygote, directory: Path, failure: Failure, control: str = ""
    ) -> None:
        """`control` is a fault to plant while calls fail, for `launch`."""
        self.zygote, self.failure, self.control = zygote, failure, control
        self.root, self.trace = directory / "root", directory / "trace"
        self.root.mkdir()
        self.data = self.root / "data"
        self.log, self.log_again = directory / "log", directory / "log-again"
        self.mark = Marker(self.trace)
        self.promised = Promises()
        self.before: Disk | None = None
        self.code: int | None = None
        self.faults: list[str] = []
        self._port_file = directory / "port.json"

    def recorded(self) -> None:
        """From here on it is recorded; what is there now counts as durable."""
        self.mark.close()
        self.trace.unlink()
        self.mark = Marker(self.trace)
        self.before = Disk(self.root)

    # ---- processes ---------------------------------------------------------------------

    def broker(self, failure: Failure, log: Path) -> tuple[int, str | None]:
        """Starts the broker: its process id, and where it listens, if it came to that."""
        self._port_file.unlink(missing_ok=True)
        pid = self.zygote.start(
            "server", "--data-dir", str(self.data), "--listen", "127.0.0.1:0", "--http", "off",
            "--port-file", str(self._port_file), "--log-format", "json",
            trace=self.trace, root=self.root, log=log, failure=failure,
            control=self.control if failure != NEVER else "",
        )  # fmt: skip
        end = time.monotonic() + END_S_MAX
        while not self._port_file.exists():
            code = self.zygote.wait(pid, _LOOK_S)
            if code is not None:
                self.code = code
                return pid, None
            assert time.monotonic() < end, f"the broker does not listen: {log.read_text()}"
        try:
            host, port = json.loads(self._port_file.read_text())["listen"]
        except FileNotFoundError:
            # It listened for a moment, and ended because of the failure.
            self.code = self.zygote.wait(pid, END_S_MAX)
            assert self.code is not None, f"the broker hides where it listens: {log.read_text()}"
            return pid, None
        return pid, f"tenure://{host}:{port}"

    def end(self, pid: int) -> int | None:
        """Asks it to stop, unless it did already; its exit code."""
        if self.code is None:
            os.kill(pid, signal.SIGTERM)
            self.code = self.zygote.wait(pid, END_S_MAX)
            if self.code is None:
                self.faults.append("the broker does not stop")
                os.kill(pid, signal.SIGKILL)
                self.zygote.wait(pid, END_S_MAX)
        return self.code

    def tool(self, *arguments: str) -> None:
        """Runs the command to its end, failing as told."""
        pid = self.zygote.start(
            "cli", *arguments, trace=self.trace, root=self.root, log=self.log, failure=self.failure
        )
        self.code = self.zygote.wait(pid, END_S_MAX)
        if self.code is None:
            self.faults.append("the command does not end")
            os.kill(pid, signal.SIGKILL)
            self.zygote.wait(pid, END_S_MAX)

    def quietly(self, work: Callable[[Actor], None]) -> None:
        """Work with a broker that nothing happens to, before the recording."""
        pid, url = self.broker(NEVER, self.log_again)
        assert url is not None, self.log_again.read_text()
        actor = Actor(url, self.mark, "before")
        work(actor)
        actor.close()
        code = self.end(pid)
        assert code == 0, self.log_again.read_text()
        self.code = None
        for event in read_trace(self.trace):
            if event.op == Op.MARK:
                self.promised.feed(json.loads(event.data))


# ---- scenes ----------------------------------------------------------------------------------


def life(scene: Scene, work: Callable[[Actor], None]) -> None:
    """A broker from its start to its stop, with a client at work and another one that waits."""
    pid, url = scene.broker(scene.failure, scene.log)
    if url is None:
        return
    told = threading.Event()
    waiting = threading.Thread(target=_wait_for_work, args=(url, told), daemon=True)
    waiting.start()
    try:
        actor = Actor(url, scene.mark, "q", timeout=f"{END_S_MAX:.0f}s")
    except TenureError:
        pass
    else:
        try:
            work(actor)
        except Lost:
            # Cut off: it ends by itself.
            scene.code = scene.zygote.wait(pid, END_S_MAX)
        except BrokerError:
            pass
        finally:
            actor.close()
    scene.end(pid)
    if not told.wait(END_S_MAX):
        scene.faults.append("a client that waits was not told of the end")


def _wait_for_work(url: str, told: threading.Event) -> None:
    client = Client(url, name="waits", timeout="30s", connect_timeout="10s", reconnect=False)
    try:
        client.reserve("nothing-ever-comes", wait="10m")
    except TenureError:
        pass
    finally:
        told.set()
        client.close()


def _work(actor: Actor) -> None:
    actor.enqueue()
    actor.enqueue(3, size=5000)
    actor.reserve(3)
    actor.ack(1)
    actor.fail(1)
    actor.enqueue(530, size=10)
    for _ in range(7):
        actor.enqueue()
    actor.release(1)
    actor.cancel(1)
    actor.enqueue(2)


def first_life(scene: Scene) -> None:
    """A new data directory."""
    scene.recorded()
    life(scene, _work)


def next_life(scene: Scene) -> None:
    """A start that has something to recover."""
    pid, url = scene.broker(NEVER, scene.log_again)
    assert url is not None
    actor = Actor(url, scene.mark, "before")
    actor.enqueue(3)
    actor.enqueue()
    actor.reserve(2)
    os.kill(pid, signal.SIGKILL)
    scene.zygote.wait(pid, END_S_MAX)
    actor.close()
    for event in read_trace(scene.trace):
        if event.op == Op.MARK:
            scene.promised.feed(json.loads(event.data))
    scene.recorded()
    life(scene, lambda actor: actor.enqueue(2))


def backup(scene: Scene) -> None:
    """Two backups of a broker at work."""

    def work(actor: Actor) -> None:
        actor.enqueue(5)
        for name in ("first", "second"):
            try:
                actor.backup(name)
            except BrokerError:
                # A backup that cannot be made harms nothing else.
                actor.enqueue()

    scene.recorded()
    life(scene, work)


def compaction(scene: Scene) -> None:
    """`tenure store compact`."""

    def work(actor: Actor) -> None:
        actor.enqueue(40, size=2000)
        actor.reserve(30)
        actor.ack(25)

    scene.quietly(work)
    scene.recorded()
    scene.tool("store", "compact", str(scene.data))


def restoring(scene: Scene) -> None:
    """`tenure backup restore`."""

    def work(actor: Actor) -> None:
        actor.enqueue(5)
        actor.backup("one")

    scene.quietly(work)
    scene.recorded()
    target = scene.root / "far" / "restored"
    scene.tool("backup", "restore", str(scene.data / "backups" / "one"), "--data-dir", str(target))
    if scene.code == 0:
        scene.mark(phase="end", id=0, outcome="done", restored="one")


def upgrading(scene: Scene) -> None:
    """A broker that starts on a store of the first format."""
    old_store(scene.root)
    copied, scratch = scene.root.with_name("copy"), scene.root.with_name("scratch")
    shutil.copytree(scene.root, copied)
    scratch.mkdir()
    for key, state in look_apart(copied, scratch, "data").jobs.items():
        name, _, body = state.name.partition(":")
        # Time has passed since it was written: what had to expire expires, the ended are forgotten.
        may = {State(f"{each}:{body}") for each in STATES}
        ended = {State(GONE)} if name in ("succeeded", "cancelled") else set()
        scene.promised.allowed[key] = frozenset(may | ended)
    scene.recorded()
    life(scene, lambda actor: actor.enqueue())


SCENES: dict[str, Callable[[Scene], None]] = {
    "first-life": first_life,
    "next-life": next_life,
    "backup": backup,
    "compaction": compaction,
    "restore": restoring,
    "upgrade": upgrading,
}
"""By name."""

TOOLS = ("compaction", "restore")
