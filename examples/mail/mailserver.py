"""An SMTP server with mailboxes that can be counted.

Behind the SMTP dialogue of aiosmtpd it behaves as mail servers do, by the address:

    greylisted…@   451 at the first try, as greylisting does
    unknown…@      550: there is no such mailbox
    tarpit…@       takes its time: answers only when `hurry` has been called; a client that goes
                   before that has not sent its letter
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from email.policy import default

from aiosmtpd.smtp import SMTP, Envelope, Session

STARTS_S = 10


class Mailboxes:
    """What the server got, and how it answers. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()
        self._hurry = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.address = ""
        """Where it listens, as "host:port"."""
        self.letters: list[tuple[str, Message]] = []
        """Each letter with the address it was for, in the order in which they came."""
        self.in_tarpit = threading.Event()
        """Set when a letter is half sent."""
        self.left_tarpit = threading.Event()
        """Set when the client of such a letter has gone."""

    def hurry(self) -> None:
        """Answer those in the tarpit, now and from now on."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._hurry.set)

    # -- what aiosmtpd calls ------------------------------------------------------------------

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """RCPT TO: whether a letter for this address is welcome."""
        self._seen[address] += 1
        if address.startswith("unknown"):
            return "550 5.1.1 there is no such mailbox"
        if address.startswith("greylisted") and self._seen[address] == 1:
            return "451 4.7.1 greylisted, try again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """The end of DATA: the letter is here. When the client goes, aiosmtpd cancels this."""
        if envelope.rcpt_tos[0].startswith("tarpit"):
            self.in_tarpit.set()
            try:
                await self._hurry.wait()
            except asyncio.CancelledError:
                self.left_tarpit.set()
                raise
        assert isinstance(envelope.content, bytes)
        letter = message_from_bytes(envelope.content, policy=default)
        self.letters += [(address, letter) for address in envelope.rcpt_tos]
        return "250 OK"

    # -- its thread ---------------------------------------------------------------------------

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        """Serves until `stop`; `ready` is set when `address` is known."""
        self._loop = asyncio.get_running_loop()
        server = await self._loop.create_server(lambda: SMTP(self), "127.0.0.1", 0)
        async with server:
            host, port = server.sockets[0].getsockname()
            self.address = f"{host}:{port}"
            ready.set()
            await stop.wait()


@contextmanager
def mail_server() -> Iterator[Mailboxes]:
    """The server, in a thread of its own."""
    mailboxes, ready, stop = Mailboxes(), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(
        target=loop.run_until_complete, args=(mailboxes.serve(ready, stop),), name="smtp"
    )
    thread.start()
    try:
        assert ready.wait(STARTS_S), "the SMTP server did not start"
        yield mailboxes
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
