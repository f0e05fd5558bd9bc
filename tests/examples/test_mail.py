"""E-mail that nobody gets twice, although the producer runs again and a worker is killed."""

from __future__ import annotations

import os
import re
import smtplib
import sqlite3
import threading
from collections.abc import Iterator
from email.policy import SMTP
from email.utils import parseaddr
from pathlib import Path

import pytest

from examples.mail.customers import Customer, open_customers
from examples.mail.letters import message_id, welcome_letter
from examples.mail.mailserver import Mailboxes, mail_server
from examples.mail.tasks import RefusedForEver, send
from tests.examples.runs import run_example


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_everybody_gets_one_letter_although_a_worker_is_killed_and_the_producer_runs_again(
    tmp_path: Path,
) -> None:
    printed = run_example("mail", tmp_path, "--customers", "30")
    said = re.findall(
        r"^the producer says: (\d+) without a letter: (\d+) enqueued, (\d+) on their way$",
        printed,
        re.M,
    )
    counts = [tuple(map(int, each)) for each in said]
    assert counts[:2] == [(30, 30, 0), (30, 0, 30)]
    assert counts[-1] == (0, 0, 0)
    assert len(counts) == 4
    (killed,) = re.findall(r"kill -9 (\d+): mail-worker-1, with 3 letters sent", printed)
    with pytest.raises(ProcessLookupError):
        os.kill(int(killed), 0)
    assert "dead letter unknown@mail.example: 550 5.1.1" in printed
    assert re.search(
        r"^sum: 30 customers, 29 letters in 29 mailboxes; 0 got two,"
        r" 3 were not sent again thanks to their checkpoints; 0 wrong$",
        printed,
        re.M,
    ), printed


@pytest.fixture
def mailboxes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailboxes]:
    with mail_server() as server:
        monkeypatch.setenv("MAIL_SERVER", server.address)
        yield server


def test_a_letter_arrives_as_it_was_written(mailboxes: Mailboxes) -> None:
    name = 'Zoë "Zed" O\'Brien'
    send(welcome_letter("zoe@mail.example", name), "zoe@mail.example")
    [(address, letter)] = mailboxes.letters
    assert address == "zoe@mail.example"
    assert letter["Subject"] == f"Welcome, {name}!"
    assert parseaddr(letter["To"]) == (name, "zoe@mail.example")
    assert letter["Message-ID"] == message_id("zoe@mail.example")


def test_a_name_cannot_add_a_header() -> None:
    with pytest.raises(ValueError):
        welcome_letter("eve@mail.example", "Eve\r\nBcc: everybody@mail.example")


def test_copies_of_a_letter_have_one_id_and_other_letters_another() -> None:
    ids = [welcome_letter(f"{name}@mail.example", name)["Message-ID"] for name in "aab"]
    assert ids[0] == ids[1] != ids[2]


def test_what_may_pass_is_told_apart_from_what_is_for_ever(mailboxes: Mailboxes) -> None:
    letter = welcome_letter("unknown@mail.example", "Nobody")
    with pytest.raises(RefusedForEver, match=r"550 5\.1\.1"):
        send(letter, "unknown@mail.example")
    greylisted = welcome_letter("greylisted@mail.example", "Grey")
    with pytest.raises(OSError, match="451"):
        send(greylisted, "greylisted@mail.example")
    send(greylisted, "greylisted@mail.example")
    assert [address for address, _ in mailboxes.letters] == ["greylisted@mail.example"]


def test_a_letter_that_was_half_sent_did_not_arrive(mailboxes: Mailboxes) -> None:
    letter = welcome_letter("tarpit@mail.example", "Slow")
    host, _, port = mailboxes.address.rpartition(":")
    smtp = smtplib.SMTP(host, int(port))
    smtp.ehlo()
    smtp.mail("shop@shop.example")
    smtp.rcpt("tarpit@mail.example")
    assert smtp.docmd("data")[0] == 354
    smtp.send(letter.as_bytes(policy=SMTP) + b".\r\n")
    assert mailboxes.in_tarpit.wait(20)
    smtp.close()  # nobody is left for the answer
    assert mailboxes.left_tarpit.wait(20)
    mailboxes.hurry()
    send(letter, "tarpit@mail.example")
    assert len(mailboxes.letters) == 1


def test_the_list_knows_who_is_to_have_a_letter(tmp_path: Path) -> None:
    people = [Customer(f"{name}@mail.example", name) for name in ("ada", "bob", "eve")]
    with open_customers(tmp_path / "list") as customers:
        customers.add(people)
        customers.note_welcomed("ada@mail.example")
        customers.note_unreachable("bob@mail.example", "550")
    with open_customers(tmp_path / "list") as customers:
        assert customers.without_letter() == [people[2]]
        assert [customers.is_welcomed(each.address) for each in people] == [True, False, False]


def test_while_the_list_is_locked_it_can_be_read_and_noting_waits(tmp_path: Path) -> None:
    noted = threading.Event()

    def note() -> None:
        with open_customers(tmp_path / "list") as customers:
            customers.note_welcomed("ada@mail.example")
            noted.set()

    with open_customers(tmp_path / "list") as customers:
        customers.add([Customer("ada@mail.example", "Ada")])
        thread = threading.Thread(target=note)
        with customers.locked(), open_customers(tmp_path / "list") as other:
            thread.start()
            assert not other.is_welcomed("ada@mail.example")
            assert not noted.is_set()
        assert noted.wait(20)
        thread.join()
        assert customers.is_welcomed("ada@mail.example")


def test_nobody_is_on_the_list_twice(tmp_path: Path) -> None:
    ada = Customer("ada@mail.example", "Ada")
    with open_customers(tmp_path / "list") as customers, pytest.raises(sqlite3.IntegrityError):
        customers.add([ada, ada])
