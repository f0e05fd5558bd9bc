"""The letter."""

from __future__ import annotations

import hashlib
from email.headerregistry import Address
from email.message import EmailMessage

SENDER = Address("The Shop", "shop", "shop.example")


def welcome_letter(address: str, name: str) -> EmailMessage:
    """The welcome letter for one customer: the same one however often it is made."""
    letter = EmailMessage()
    letter["From"] = SENDER
    # A header made of parts cannot be broken out of, whatever the name is.
    letter["To"] = Address(name, addr_spec=address)
    letter["Subject"] = f"Welcome, {name}!"
    letter["Message-ID"] = message_id(address)
    letter.set_content(f"Dear {name},\n\nit is good to have you here.\n\nThe Shop\n")
    return letter


def message_id(address: str) -> str:
    """The same for every copy of a letter, so that a mail system can tell a copy."""
    return f"<welcome.{hashlib.sha256(address.encode()).hexdigest()[:32]}@{SENDER.domain}>"
