"""Partitions made by the kernel: a broker in a network namespace of its own. Needs root and `ip`.

One direction is lost by giving the sender a wrong hardware address of its peer: what it sends
leaves, and nobody takes it. Acknowledgements are lost with it, so TCP itself is cut off.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from types import TracebackType
from typing import Self

NOBODY = "02:00:00:00:00:99"
EPISODE_S_MAX = 2.5


def is_possible() -> bool:
    """Whether this process may make namespaces."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"tenure-try-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode != 0:
        return False
    _ip("netns", "del", name)
    return True


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
    return done.stdout


class Partitioned:
    """Two hosts and the wire between them. `launcher` runs a program on the far one."""

    def __init__(self) -> None:
        number = os.getpid() % 250
        self.space = f"tenure-net-{os.getpid()}"
        self._wires = (f"tnn{os.getpid() % 100_000}", f"tnf{os.getpid() % 100_000}")
        self._addresses = (f"10.213.{number}.1", f"10.213.{number}.2")
        self._hardware = ("02:00:00:00:00:01", "02:00:00:00:00:02")
        self.launcher = ["ip", "netns", "exec", self.space]
        self.far = self._addresses[1]
        """The address of the far host."""
        self.episodes = 0

    def __enter__(self) -> Self:
        near, far = self._wires
        inside = ["-n", self.space]
        try:
            _ip("netns", "add", self.space)
            _ip("link", "add", near, "address", self._hardware[0], "type", "veth", "peer",
                "name", far, "address", self._hardware[1], "netns", self.space)  # fmt: skip
            _ip("addr", "add", f"{self._addresses[0]}/30", "dev", near)
            _ip(*inside, "addr", "add", f"{self._addresses[1]}/30", "dev", far)
            _ip("link", "set", near, "up")
            _ip(*inside, "link", "set", far, "up")
            _ip(*inside, "link", "set", "lo", "up")
            self.cut(up=False, down=False)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        # The other end of the wire goes with its namespace.
        subprocess.run(["ip", "netns", "del", self.space], capture_output=True)
        subprocess.run(["ip", "link", "del", self._wires[0]], capture_output=True)

    def cut(self, *, up: bool, down: bool) -> None:
        """From now on what goes to the far host is lost, or not; and what comes from it."""
        near, far = self._wires
        to_far = NOBODY if up else self._hardware[1]
        to_near = NOBODY if down else self._hardware[0]
        _ip("neigh", "replace", self._addresses[1], "lladdr", to_far, "dev", near,
            "nud", "permanent")  # fmt: skip
        _ip("-n", self.space, "neigh", "replace", self._addresses[0], "lladdr", to_near,
            "dev", far, "nud", "permanent")  # fmt: skip

    def play(self, seed: int, seconds: float) -> None:
        """Cut one way, the other, or both, again and again; whole at the end."""
        rng, end = random.Random(f"kernel {seed}"), time.monotonic() + seconds
        while time.monotonic() < end:
            up, down = rng.choice([(True, False), (False, True), (True, True)])
            self.cut(up=up, down=down)
            self.episodes += 1
            time.sleep(rng.uniform(0.2, EPISODE_S_MAX))
            self.cut(up=False, down=False)
            time.sleep(rng.uniform(0.2, 1.0))
