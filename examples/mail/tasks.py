"""The app of the mail: `tenure worker examples.mail.tasks:app -c 4`.

MAIL_CUSTOMERS names the list of customers, MAIL_SERVER the SMTP server as "host:port".
"""

from __future__ import annotations

import os
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from pathlib import Path
from typing import Literal

from examples.mail.customers import Customers, open_customers
from examples.mail.letters import welcome_letter
from tenure import App, Depends, Permanent, Retry, current_job

SMTP_S = 20
"""How long the server may take for each answer."""

app = App(name="mail", queue="mail")

Welcomed = Literal["sent", "sent by an earlier attempt", "had it already"]


def customer_list() -> Iterator[Customers]:
    """The list, open while a job runs."""
    with open_customers(Path(os.environ["MAIL_CUSTOMERS"])) as customers:
        yield customers


@app.task(
    unique="welcome-{address}",
    # Greylisting wants a pause; a server that is down for an hour is nothing special.
    retry=Retry.steps(["500ms", "1s", "2s", "5s", "1m", "10m", "1h"]),
    # A worker that dies is missed after so long; one that lives extends its leases by itself. So
    # short for the example: 30 s, which you get if you say nothing, forgives slow machines more.
    lease="3s",
    result_ttl="1h",
)
def welcome(address: str, name: str, customers: Customers = Depends(customer_list)) -> Welcomed:
    """Sends the welcome letter to one customer, and notes it on the list."""
    if customers.is_welcomed(address):
        return "had it already"
    with current_job().checkpoint("sent") as done:
        if not done:
            try:
                send(welcome_letter(address, name), address)
            except RefusedForEver as error:
                customers.note_unreachable(address, str(error))
                raise Permanent(str(error)) from error
    customers.note_welcomed(address)
    return "sent by an earlier attempt" if done else "sent"


class RefusedForEver(Exception):
    """The server will not take this letter, now or later."""


def send(letter: EmailMessage, address: str) -> None:
    """Hands one letter to the server; when this returns, the server has taken it.

    Raises `RefusedForEver`; any other `OSError` (all of smtplib's are) may pass.
    """
    host, _, port = os.environ["MAIL_SERVER"].rpartition(":")
    with connected(host, int(port)) as smtp:
        try:
            smtp.send_message(letter, to_addrs=[address])
        except smtplib.SMTPRecipientsRefused as error:
            code, text = error.recipients[address]
            raise_if_for_ever(code, text)
            raise
        except smtplib.SMTPResponseException as error:
            raise_if_for_ever(error.smtp_code, error.smtp_error)
            raise


def raise_if_for_ever(code: int, text: bytes | str) -> None:
    """Raises `RefusedForEver` for a code of the 500s; those of the 400s may pass."""
    if code >= 500:
        told = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        raise RefusedForEver(f"{code} {told}")


@contextmanager
def connected(host: str, port: int) -> Iterator[smtplib.SMTP]:
    """A connection to the server. Its end is never an error: the letter is with the server."""
    smtp = smtplib.SMTP(host, port, timeout=SMTP_S)
    try:
        yield smtp
        with suppress(OSError):
            smtp.quit()
    finally:
        smtp.close()
