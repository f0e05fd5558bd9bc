"""RabbitMQ through AMQP 0-9-1 frames on a socket, so that the server is measured.

pamqp builds the frames of the conversation; those of each job are put together by hand. Acks
have no answer in this protocol: what is applied is known from a question behind them.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from bench.peers.contract import (
    BATCH_JOBS,
    HOST,
    QUEUE,
    WAIT_SECONDS,
    Driver,
    Target,
    chunks,
    library,
    take_in_batches,
)

UNCONFIRMED_MAX = 1_000
SEND_JOBS = 200
ACK_JOBS = 250
RECEIVE_BYTES = 1 << 18
PERSISTENT = 2

METHOD = 1
BODY = 3
FRAME_END = b"\xce"
BASIC_DELIVER = (60, 60)
BASIC_ACK = (60, 80)
QUEUE_TYPES = {
    "quorum": {"x-queue-type": "quorum"},
    "classic": {"x-queue-type": "classic"},
}


class RabbitError(Exception):
    """The server closed the channel or the connection, or refused a job."""


class RabbitFrames:
    """One durable queue, persistent messages, publisher confirms."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._arguments = QUEUE_TYPES[target.mode]
        self._commands: Any = library("pamqp.commands")
        self._frames: Any = library("pamqp.frame")
        self._buffer, self._offset = b"", 0
        self._next, self._confirmed = 1, 0
        self._early: set[int] = set()
        self._prefixes: dict[int, bytes] = {}

    async def connect(self) -> None:
        """Connection, channel, queue; confirms for a producer, a prefetch for a consumer."""
        self._socket = socket.create_connection((HOST, self._target.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(b"AMQP\x00\x00\x09\x01")
        commands = self._commands
        self._wait("Connection.Start")
        self._send(commands.Connection.StartOk({}, "PLAIN", "\0guest\0guest", "en_US"), 0)
        self._wait("Connection.Tune")
        self._send(commands.Connection.TuneOk(2047, 131072, 0), 0)
        self._send(commands.Connection.Open("/"), 0)
        self._wait("Connection.OpenOk")
        self._ask(commands.Channel.Open(), "Channel.OpenOk")
        declare = commands.Queue.Declare(queue=QUEUE, durable=True, arguments=self._arguments)
        self._ask(declare, "Queue.DeclareOk")
        if self._target.role == "put":
            self._ask(commands.Confirm.Select(), "Confirm.SelectOk")
            return
        prefetch = 1 if self._target.role == "take-one" else BATCH_JOBS
        self._ask(commands.Basic.Qos(prefetch_count=prefetch), "Basic.QosOk")
        self._ask(commands.Basic.Consume(queue=QUEUE, consumer_tag="t"), "Basic.ConsumeOk")

    async def put(self, body: bytes) -> None:
        """basic.publish, and its confirm."""
        self._send_jobs([body])
        self._await_confirms(0)

    async def put_many(self, bodies: Sequence[bytes]) -> None:
        """basic.publish of all, and their confirms."""
        await self.put_all(iter(bodies))

    async def put_all(self, bodies: Iterator[bytes]) -> None:
        """At most a thousand without a confirm."""
        for chunk in chunks(bodies, SEND_JOBS):
            self._await_confirms(UNCONFIRMED_MAX - len(chunk))
            self._send_jobs(chunk)
        self._await_confirms(0)

    async def take(self) -> int:
        """A delivery (prefetch 1), basic.ack."""
        if not self._readable(WAIT_SECONDS):
            return 0
        self._ack(self._delivery(), multiple=False)
        return 1

    async def take_many(self, count: int) -> int:
        """Deliveries (prefetch 1,000), one basic.ack for all of them."""
        count, done, tag = min(count, ACK_JOBS), 0, 0
        while done < count and self._readable(0.05 if done else WAIT_SECONDS):
            tag = self._delivery()
            done += 1
        if done:
            self._ack(tag, multiple=True)
        return done

    async def take_all(self, count: int) -> int:
        """An ack for 250 at a time; at the end a question on the same channel behind the acks."""
        done = await take_in_batches(self, count, ACK_JOBS)
        self._send(self._commands.Queue.Declare(queue=QUEUE, passive=True))
        self._wait("Queue.DeclareOk")
        return done

    async def close(self) -> None:
        """Says goodbye and hangs up; acks that are on their way arrive before that."""
        self._send(self._commands.Connection.Close(200, "bye", 0, 0), 0)
        self._wait("Connection.CloseOk")
        self._socket.close()

    def _ask(self, command: Any, answer: str) -> None:
        self._send(command)
        self._wait(answer)

    def _send(self, command: Any, channel: int = 1) -> None:
        self._socket.sendall(self._frames.marshal(command, channel))

    def _send_jobs(self, bodies: Sequence[bytes]) -> None:
        self._socket.sendall(b"".join(map(self._job, bodies)))
        self._next += len(bodies)

    def _job(self, body: bytes) -> bytes:
        """Method, header and body frame of one job."""
        if (prefix := self._prefixes.get(len(body))) is None:
            properties = self._commands.Basic.Properties(delivery_mode=PERSISTENT)
            header = library("pamqp.header").ContentHeader(0, len(body), properties)
            publish = self._commands.Basic.Publish(exchange="", routing_key=QUEUE)
            prefix = self._frames.marshal(publish, 1) + self._frames.marshal(header, 1)
            prefix += struct.pack(">BHI", BODY, 1, len(body))
            self._prefixes[len(body)] = prefix
        return prefix + body + FRAME_END

    def _frame(self) -> tuple[int, bytes]:
        """Type and payload of the next frame."""
        while True:
            if len(self._buffer) - self._offset >= 7:
                kind, _, size = struct.unpack_from(">BHI", self._buffer, self._offset)
                start = self._offset + 7
                if len(self._buffer) > start + size:
                    self._offset = start + size + 1
                    return kind, self._buffer[start : start + size]
            received = self._socket.recv(RECEIVE_BYTES)
            if not received:
                raise ConnectionError("the server hung up")
            self._buffer = self._buffer[self._offset :] + received
            self._offset = 0

    def _wait(self, name: str) -> None:
        """Skips frames until the method of that name."""
        while True:
            kind, payload = self._frame()
            if kind != METHOD:
                continue
            whole = struct.pack(">BHI", METHOD, 0, len(payload)) + payload + FRAME_END
            method = self._frames.unmarshal(whole)[2]
            if method.name == name:
                return
            if method.name in ("Channel.Close", "Connection.Close"):
                raise RabbitError(f"{method.name}: {method.reply_text}")

    def _await_confirms(self, unconfirmed_max: int) -> None:
        while self._next - 1 - self._confirmed - len(self._early) > unconfirmed_max:
            kind, payload = self._frame()
            kind, number, tag, multiple = struct.unpack_from(">HHQB", payload)
            if (kind, number) != BASIC_ACK:
                raise RabbitError(f"method {kind}.{number} instead of a confirm")
            if multiple and tag > self._confirmed:
                self._confirmed = tag
                self._early = {early for early in self._early if early > tag}
            elif not multiple:
                # They may come out of order.
                self._early.add(tag)
            while self._confirmed + 1 in self._early:
                self._confirmed += 1
                self._early.discard(self._confirmed)

    def _delivery(self) -> int:
        """The tag of the next delivery, whose frames are read."""
        while True:
            kind, payload = self._frame()
            if kind == METHOD and struct.unpack_from(">HH", payload) == BASIC_DELIVER:
                break
        tag_at = 5 + payload[4]
        self._frame()
        self._frame()
        return int(struct.unpack_from(">Q", payload, tag_at)[0])

    def _readable(self, timeout_seconds: float) -> bool:
        if len(self._buffer) > self._offset:
            return True
        return bool(select.select([self._socket], [], [], timeout_seconds)[0])

    def _ack(self, tag: int, *, multiple: bool) -> None:
        self._socket.sendall(
            struct.pack(">BHIHHQBB", METHOD, 1, 13, *BASIC_ACK, tag, multiple, FRAME_END[0])
        )


def open_driver(target: Target) -> Driver:
    """A client that is not connected yet."""
    return RabbitFrames(target)
