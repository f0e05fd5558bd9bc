"""Who works here: what connected workers tell of themselves, and what they are told.

    worker ──register, beat──► Workers ──list, get──► people
           ◄──────notice─────          ◄──tell, stacks──
           ──report──────────►         ──text──────►

All of it is in memory and the shell's: a worker belongs to its connection, and tells again
after a break. One whose connection ended without goodbye is shown as lost for a while.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tenure_protocol.errors import (
    BadRequest,
    Draining,
    TooManyWaiting,
    TooManyWorkers,
    WorkerNotFound,
    WorkerSilent,
)
from tenure_protocol.limits import FRAME_VALUES_MAX, WORKER_INFO_BYTES_SURE, WORKERS_BYTES_MAX
from tenure_protocol.structure import CONTAINER_VALUES
from tenure_protocol.wire import pack, unpack
from tenure_server.engine import Now

if TYPE_CHECKING:
    from tenure_server.connection import Connection

LOST_SHOWN_MS = 60_000
"""How long a worker that is gone without goodbye is still shown."""

LOST_MAX = 1_000
"""The most lost workers that are shown; the oldest go first."""

QUESTIONS_MAX = 1_000
"""The most requests for stacks that wait for an answer at a time."""

LISTED_BYTES_MAX = 4 * 1024 * 1024
"""Above this a list leaves out what is long of each worker, and above it again, workers."""

LISTED_VALUES_MAX = FRAME_VALUES_MAX // 4
"""The same for the number of values, of which a frame has a limit too."""

LONG_KEYS = frozenset({"jobs", "children", "pools"})
"""What a long list leaves out of each worker."""

_ID_BYTES = 3

_SHOWN_BYTES, _SHOWN_VALUES = 128, 32
"""What the broker adds to a worker that is shown, but for its names."""


class Told(NamedTuple):
    """What a worker told at once, packed, and how many values that are as a frame counts them.

    Counted when it is told, so that a list of thousands of workers need not look into each.
    """

    data: bytes
    values: int
    brief: bytes
    """The same without what is long of it."""
    brief_values: int

    @property
    def large_bytes(self) -> int:
        """What counts towards `WORKERS_BYTES_MAX`: nothing of a map that is always taken."""
        if len(self.data) <= WORKER_INFO_BYTES_SURE:
            return 0
        return len(self.data) + (0 if self.brief is self.data else len(self.brief))


NOTHING_TOLD = Told(pack({}), 1, pack({}), 1)


class Worker:
    """A worker: who it is and what it does, packed as it told them."""

    __slots__ = (
        "beat", "client", "connection", "id", "info", "lost_ms", "name", "registered_at_ms",
        "seen_at_ms", "session",
    )  # fmt: skip

    def __init__(self, worker_id: str, session: bytes, client: str) -> None:
        self.id = worker_id
        self.session = session
        self.client = client
        self.name = ""
        self.info = self.beat = NOTHING_TOLD
        self.connection: Connection | None = None
        self.registered_at_ms = self.seen_at_ms = 0
        self.lost_ms = 0
        """When its connection ended, by the monotonic clock."""

    def shown(self, brief: bool = False) -> dict[str, Any]:
        """All that it told, or what is short of it, and what the broker knows of it."""
        told: dict[str, Any] = {"state": "starting"}
        for each in (self.info, self.beat):
            told.update(unpack(each.brief if brief else each.data))
        if self.connection is None:
            told["state"] = "lost"
        return {
            **told,
            "worker": self.id,
            "name": self.name,
            "client": self.client,
            "registered_at_ms": self.registered_at_ms,
            "seen_at_ms": self.seen_at_ms,
        }


class _Question:
    """Somebody waits for the stacks of a worker."""

    __slots__ = ("asker", "request_id", "timer", "worker")

    def __init__(self, asker: Connection, request_id: int, worker: Worker) -> None:
        self.asker = asker
        self.request_id = request_id
        self.worker = worker
        self.timer: asyncio.TimerHandle | None = None


class Workers:
    """The workers of one broker. `wake` brings a turn, in which replies and notices leave."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        new_id: Callable[[int], bytes],
        wake: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._new_id = new_id
        self._wake = wake
        self._by_id: dict[str, Worker] = {}
        self._by_connection: dict[Connection, Worker] = {}
        self._lost: dict[Worker, None] = {}
        """Those without a connection, the oldest first."""
        self._large_bytes = 0
        self._questions: dict[int, _Question] = {}
        self._token = 0

    def __len__(self) -> int:
        return len(self._by_connection)

    # ---- what workers say --------------------------------------------------------------

    def register(self, connection: Connection, name: str, info: Told, now: Now) -> str:
        """The worker behind this connection, from now on; its id. A session keeps its id.

        Raises `TooManyWorkers`.
        """
        session = connection.session
        assert session is not None
        worker = self._by_connection.get(connection) or self._of_session(session.id)
        self._take_room(worker, NOTHING_TOLD if worker is None else worker.info, info)
        if worker is None:
            worker = Worker(self._unused_id(), session.id, session.name)
            self._by_id[worker.id] = worker
        self._lost.pop(worker, None)
        worker.connection, worker.client = connection, session.name
        worker.name, worker.info = name, info
        worker.registered_at_ms = worker.seen_at_ms = now.wall_ms
        self._by_connection[connection] = worker
        return worker.id

    def _take_room(self, worker: Worker | None, old: Told, new: Told) -> None:
        """Counts what a worker tells in place of what it told. Raises `TooManyWorkers`."""
        more = new.large_bytes - old.large_bytes
        if more > 0 and self._large_bytes + more > WORKERS_BYTES_MAX:
            for lost in [each for each in self._lost if each is not worker]:
                if self._large_bytes + more <= WORKERS_BYTES_MAX:
                    break
                self._forget(lost)
            if self._large_bytes + more > WORKERS_BYTES_MAX:
                raise TooManyWorkers(
                    f"what workers tell in maps of more than {WORKER_INFO_BYTES_SURE} bytes has "
                    f"{self._large_bytes} bytes all together; the limit is {WORKERS_BYTES_MAX}",
                    details={"limit": WORKERS_BYTES_MAX},
                )
        self._large_bytes += more

    def _forget(self, worker: Worker) -> None:
        self._lost.pop(worker, None)
        del self._by_id[worker.id]
        self._large_bytes -= worker.info.large_bytes + worker.beat.large_bytes

    def _of_session(self, session: bytes) -> Worker | None:
        return next((worker for worker in self._lost if worker.session == session), None)

    def _unused_id(self) -> str:
        while True:
            worker_id = self._new_id(_ID_BYTES).hex()
            if worker_id not in self._by_id:
                return worker_id

    def beat(self, connection: Connection, beat: Told, now: Now) -> None:
        """What the worker of this connection does now.

        Raises `WorkerNotFound` or `TooManyWorkers`.
        """
        worker = self._by_connection.get(connection)
        if worker is None:
            raise WorkerNotFound("no worker is registered on this connection; register first")
        self._take_room(worker, worker.beat, beat)
        worker.beat, worker.seen_at_ms = beat, now.wall_ms

    def leave(self, connection: Connection, now_ms: int, *, goodbye: bool) -> None:
        """A connection is gone, with a goodbye or without: its worker, and what it had asked."""
        for token in [t for t, q in self._questions.items() if q.asker is connection]:
            self._take_question(token)
        worker = self._by_connection.pop(connection, None)
        if worker is None:
            return
        worker.connection, worker.lost_ms = None, now_ms
        for token in [t for t, q in self._questions.items() if q.worker is worker]:
            self._refuse(token, "its connection is gone")
        if goodbye:
            self._forget(worker)
            return
        self._lost[worker] = None
        self.sweep(now_ms)

    def sweep(self, now_ms: int) -> None:
        """Forgets workers that were lost long ago."""
        for worker in list(self._lost):
            if now_ms - worker.lost_ms < LOST_SHOWN_MS and len(self._lost) <= LOST_MAX:
                return
            self._forget(worker)

    # ---- looking -----------------------------------------------------------------------

    def listed(self, now_ms: int) -> dict[str, object]:
        """The workers by name, as far as they fit into a reply."""
        self.sweep(now_ms)
        workers = sorted(self._by_id.values(), key=lambda each: (each.name, each.id))
        brief = _fitting(workers, brief=False) < len(workers)
        fitting = _fitting(workers, brief=brief)
        shown = [worker.shown(brief) for worker in workers[:fitting]]
        return {"workers": shown, "complete": fitting == len(workers)}

    def found(self, text: str, now_ms: int) -> Worker:
        """The worker of that id or name; of several, the connected one, else the last lost.

        Raises `WorkerNotFound`, or `BadRequest` when several of that name are connected.
        """
        self.sweep(now_ms)
        worker = self._by_id.get(text)
        if worker is not None:
            return worker
        named = [worker for worker in self._by_connection.values() if worker.name == text]
        if len(named) > 1:
            ids = ", ".join(sorted(worker.id for worker in named))
            raise BadRequest(f"{len(named)} workers are called {text!r}; name one by id: {ids}")
        named = named or [worker for worker in self._lost if worker.name == text]
        if not named:
            raise WorkerNotFound(f"there is no worker {text!r}", details={"worker": text})
        return named[-1]

    # ---- telling and asking --------------------------------------------------------------

    def tell(self, text: str, do: str) -> int:
        """Tells the worker of that id, or all of that name; how many. Raises `WorkerNotFound`."""
        one = self._by_id.get(text)
        told = [one] if one is not None else [w for w in self._by_id.values() if w.name == text]
        connections = [worker.connection for worker in told if worker.connection is not None]
        if not connections:
            raise WorkerNotFound(f"no worker {text!r} is connected", details={"worker": text})
        for connection in connections:
            self._notice(connection, do)
        return len(connections)

    def _notice(self, connection: Connection, do: str) -> int:
        self._token += 1
        connection.notice("worker", {"do": do, "token": self._token})
        return self._token

    def ask_stacks(self, asker: Connection, request_id: int, worker: Worker, wait_ms: int) -> None:
        """Asks a worker for its stacks; `asker` is answered with them, or that it is silent."""
        if worker.connection is None:
            raise WorkerNotFound(
                f"worker {worker.id} is not connected any more", details={"worker": worker.id}
            )
        if len(self._questions) >= QUESTIONS_MAX:
            raise TooManyWaiting(
                f"{QUESTIONS_MAX} requests for stacks wait already, the limit",
                details={"limit": QUESTIONS_MAX},
            )
        question = _Question(asker, request_id, worker)
        token = self._notice(worker.connection, "stacks")
        self._questions[token] = question
        question.timer = self._loop.call_later(wait_ms / 1000, self._silent, token, wait_ms)

    def report(self, connection: Connection, token: int, text: str) -> None:
        """A worker's answer. One that nobody waits for any more is dropped."""
        question = self._questions.get(token)
        if question is not None and question.worker.connection is connection:
            self._take_question(token)
            question.asker.answer(question.request_id, 0, {"text": text})

    def _silent(self, token: int, wait_ms: int) -> None:
        self._refuse(token, f"it did not answer within {wait_ms} ms")

    def _refuse(self, token: int, why: str) -> None:
        question = self._take_question(token)
        question.asker.refuse(
            question.request_id,
            WorkerSilent(
                f"worker {question.worker.id} tells no stacks: {why}",
                details={"worker": question.worker.id},
            ),
        )
        self._wake()

    def _take_question(self, token: int) -> _Question:
        question = self._questions.pop(token)
        if question.timer is not None:
            question.timer.cancel()
        return question

    def stop(self) -> None:
        """The broker is stopping: nobody waits for answers any more."""
        for token in list(self._questions):
            question = self._take_question(token)
            question.asker.refuse(question.request_id, Draining("the broker is stopping"))


def weight_and_depth(value: object) -> tuple[int, int]:
    """How many values these are as a frame counts them, and how deep they are nested.

    Raises `BadRequest` for a float that is no finite number: not all who are shown it can read it.
    """
    weight, depth = 1, 0
    level: list[object] = [value]
    while level:
        inner: list[object] = []
        for each in level:
            if isinstance(each, (list, dict)):
                weight += CONTAINER_VALUES + len(each) * (2 if isinstance(each, dict) else 1)
                inner += each.values() if isinstance(each, dict) else each
            elif isinstance(each, float) and not math.isfinite(each):
                raise BadRequest(f"what a worker tells must be finite numbers, not {each}")
        depth += 1
        level = inner
    return weight, depth


def _fitting(workers: Sequence[Worker], *, brief: bool) -> int:
    """How many of the workers fit into a list."""
    bytes_left, values_left = LISTED_BYTES_MAX, LISTED_VALUES_MAX
    for index, worker in enumerate(workers):
        bytes_left -= _SHOWN_BYTES + len(worker.name.encode()) + len(worker.client.encode())
        values_left -= _SHOWN_VALUES
        for told in (worker.info, worker.beat):
            bytes_left -= len(told.brief if brief else told.data)
            values_left -= told.brief_values if brief else told.values
        if bytes_left < 0 or values_left < 0:
            return index
    return len(workers)
