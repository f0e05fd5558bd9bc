"""Whole conversations of several clients with the real connection, engine and store.

Right requests of every operation, and between them: damaged ones, bytes cut anywhere, ids used
twice, other orders, silence, breaks, restarts. Afterwards everybody was answered or cut off,
the neighbour had its jobs, nothing is held for those who have gone, and the rows are sound.
"""

from __future__ import annotations

from tenure_protocol.wire import pack
from tests.fuzz.choices import Choices
from tests.fuzz.neighbour import Neighbour
from tests.fuzz.peer import REQUEST_ID_MAX, Peer, framed
from tests.fuzz.requests import REQUESTS, Known, hello, request
from tests.fuzz.values import HEADS, damaged, damaged_bytes, odd
from tests.fuzz.world import Room

PEERS_MAX = 3
ACTS_MAX = 60
LONGEST_WAIT_MS = 3_700_000


class Talk:
    """One conversation."""

    def __init__(self, data: bytes) -> None:
        self._choices = Choices(data)
        self._restarts = len(data) % 4 == 0
        self._known = Known()
        self._room = Room()
        self._neighbour = Neighbour(self._room)
        self._peers: list[Peer] = []

    def run(self) -> None:
        """Everything that the input says, and then what must hold."""
        room = self._room
        try:
            for _ in range(ACTS_MAX):
                if self._choices.spent:
                    break
                self._act()
            self._neighbour.live()
            room.check()
            self._end()
        finally:
            room.close()

    def _act(self) -> None:
        choices, room = self._choices, self._room
        what = choices.below(100)
        if what >= 97:
            room.verify()
            self._restart()
            return
        if what >= 93:
            room.advance(choices.pick([1, 200, 6_000, 40_000, 4_000_000]))
            return
        if what >= 91:
            room.loop.wall_ms += choices.pick([-100_000, -1_000, 1, 90_000_000])
            return
        peer = self._peer()
        if what >= 88:
            peer.line.hang_up()
        elif what >= 86:
            room.sweep()
        elif what >= 82:
            self._neighbour.live()
        else:
            self._speak(peer)
        room.settle()
        if not choices.chance(10):
            for each in self._peers:
                each.hear()

    def _peer(self) -> Peer:
        choices = self._choices
        alive = [peer for peer in self._peers if not peer.closed]
        if alive and (len(alive) >= PEERS_MAX or not choices.chance(15)):
            return choices.pick(alive)
        peer = Peer(self._room, self._known)
        self._peers.append(peer)
        if not choices.chance(10):
            peer.say("hello", hello(choices, self._known))
            self._room.settle()
            peer.hear()
        return peer

    def _speak(self, peer: Peer) -> None:
        choices = self._choices
        frames = b"".join(self._frame(peer) for _ in range(choices.pick([1, 1, 1, 2, 30])))
        if choices.chance(15):
            frames = damaged_bytes(choices, frames)
        if choices.chance(20):
            at = choices.below(len(frames) + 1)
            peer.send(frames[:at])
            if choices.chance(50):
                self._room.settle()
            frames = frames[at:] if choices.chance(80) else b""
        peer.send(frames)

    def _frame(self, peer: Peer) -> bytes:
        choices = self._choices
        op, args = request(choices, self._known)
        request_id: object = peer.next_id()
        if choices.chance(25):
            what = choices.below(6)
            if what == 0:
                request_id = choices.pick(
                    [0, 1, 2, REQUEST_ID_MAX, REQUEST_ID_MAX + 1, -1, True, 1.0, "1"]
                )
            elif what == 1:
                op = choices.pick(["levitate", "", "x" * 300, *REQUESTS])
            elif what == 2:
                args = odd(choices)
            else:
                args = damaged(choices, args)
        if choices.chance(2):
            return choices.pick(HEADS)
        return framed(pack([request_id, op, args]))

    def _restart(self) -> None:
        for peer in self._peers:
            peer.hear()
        self._peers.clear()
        self._room.restart()
        self._neighbour = Neighbour(self._room)

    def _end(self) -> None:
        room = self._room
        room.advance(LONGEST_WAIT_MS)
        for peer in self._peers:
            peer.hear()  # whoever was not read from may have made room for more
        room.settle()
        for peer in self._peers:
            peer.check_answered()
        for peer in self._peers:
            peer.line.hang_up()
        room.settle()
        room.check()
        if room.hub.engine.waiting_count or len(room.hub.connections) != 1:
            raise AssertionError(f"something waits for nobody: {room.hub.connections}")
        self._neighbour.live()
        room.verify()
        if self._restarts:
            room.restart()


def talk(data: bytes) -> None:
    """One conversation, as `data` says. Raises when something that must hold does not."""
    Talk(data).run()


def seeds() -> list[bytes]:
    """Inputs to begin with: nothing, some of everything, and long ones."""
    return [b"", bytes(40), bytes(range(256)), bytes(range(255, -1, -1)) * 2, b"\x20\x01\x33" * 60]
