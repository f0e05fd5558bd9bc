"""The story: a producer that runs four times, a worker that is killed, and mailboxes to count."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from examples.mail.customers import Customer, Customers, open_customers
from examples.mail.letters import message_id
from examples.mail.mailserver import Mailboxes, mail_server
from examples.mail.tasks import Welcomed, app, welcome
from examples.running import ROOT, ExampleError, Stage, end_of, play, stage, wait_until
from tenure import JobHandle, TaskFailed

SLOTS = 4
WITHIN_S = 60.0

Ends = Mapping[Customer, "Welcomed | TaskFailed"]


def main() -> int:
    """Runs the example; its exit code."""
    parser = argparse.ArgumentParser(prog="mail", description="E-mail that nobody gets twice.")
    parser.add_argument("--customers", type=int, default=60, help="how many, 10 or more [60]")
    options = parser.parse_args()
    everybody = people(max(options.customers, 10))
    with (
        mail_server() as mailboxes,
        stage("mail", "examples.mail.tasks:app", "-c", str(SLOTS)) as on,
        open_customers(on.place / "customers.sqlite") as customers,
    ):
        on.environment["MAIL_SERVER"] = mailboxes.address
        on.environment["MAIL_CUSTOMERS"] = str(on.place / "customers.sqlite")
        customers.add(everybody)
        ends = run(everybody, customers, mailboxes, on)
        left = customers.without_letter()
        app.close()
        on.workers.stop()
        on.broker.stop()
    return verdict(ends, mailboxes, left)


def people(count: int) -> list[Customer]:
    """The customers. The first one's mail server is slow, two others greylist, one is unknown."""
    names = ["tarpit", *(f"customer{n}" for n in range(1, count - 3))]
    names[SLOTS:SLOTS] = ["greylisted1", "unknown", "greylisted2"]
    return [Customer(f"{name}@mail.example", f"{name.title()}, née O'Brien") for name in names]


def run(
    everybody: Sequence[Customer], customers: Customers, mailboxes: Mailboxes, on: Stage
) -> Ends:
    """Everything that happens; what became of each customer's job."""
    begun = time.monotonic()
    produce(on)
    # Enqueued again, and here already: that is how another program gets at the same jobs.
    jobs = app.enqueue_many(welcome.s(*customer) for customer in everybody)
    kill_a_worker(jobs, customers, mailboxes, on)
    produce(on)
    mailboxes.hurry()
    on.workers.start_one()
    half = len(everybody) // 2
    wait_until(
        lambda: len(customers.without_letter()) <= half, on.workers, WITHIN_S, "half of them sent"
    )
    produce(on)
    ends: Ends = {
        customer: end_of(job, on.workers) for customer, job in zip(everybody, jobs, strict=True)
    }
    produce(on)
    print(f"every job has ended after {time.monotonic() - begun:.1f} s")
    return ends


def produce(on: Stage) -> None:
    """Runs the producer, as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.mail.producer"],
        cwd=ROOT,
        env=on.variables(),
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )
    if done.returncode != 0:
        raise ExampleError(f"the producer failed:\n{done.stderr}")
    print(f"the producer says: {done.stdout.strip()}")


def kill_a_worker(
    jobs: Sequence[JobHandle[Welcomed]], customers: Customers, mailboxes: Mailboxes, on: Stage
) -> None:
    """Starts a worker, and kills it when it can do most harm.

    Nobody can write to the list, so the letters of all slots but one are sent, recorded by
    their checkpoints, and not noted yet; and the letter of that one is half sent.
    """

    def worst_moment() -> bool:
        recorded = (job.info().checkpoint is not None for job in jobs[1:SLOTS])
        return mailboxes.in_tarpit.is_set() and all(recorded)

    with customers.locked():
        name = on.workers.start_one()
        wait_until(worst_moment, on.workers, WITHIN_S, "the first letters are sent")
        pid = on.workers.kill(name)
        # Its processes end with it; the one that was sending must be gone before we go on.
        wait_until(mailboxes.left_tarpit.is_set, on.workers, WITHIN_S, "its process has gone")
    print(f"  kill -9 {pid}: {name}, with {SLOTS - 1} letters sent and one half sent")


def verdict(ends: Ends, mailboxes: Mailboxes, left: Sequence[Customer]) -> int:
    """Counts what is in the mailboxes; 0 if it is one letter for everybody who can get one."""
    letters = Counter(address for address, _ in mailboxes.letters)
    faults = [f"{customer.address}: still on the list" for customer in left]
    for customer, end in ends.items():
        address = customer.address
        wanted = 0 if address.startswith("unknown") else 1
        if letters[address] != wanted:
            faults.append(f"{address}: {letters[address]} letters instead of {wanted}")
        if isinstance(end, TaskFailed):
            print(f"  dead letter {address}: {end.message}")
        if isinstance(end, TaskFailed) != (wanted == 0):
            faults.append(f"{address}: {end}")
    ids = {address: letter["Message-ID"] for address, letter in mailboxes.letters}
    faults += [f"{each}: strange id" for each, found in ids.items() if found != message_id(each)]
    saved = sum(end == "sent by an earlier attempt" for end in ends.values())
    if saved != SLOTS - 1:
        faults.append(f"{saved} jobs went on behind their checkpoint instead of {SLOTS - 1}")
    for fault in faults:
        print(f"  WRONG {fault}")
    doubled = sum(count > 1 for count in letters.values())
    print(
        f"sum: {len(ends)} customers, {letters.total()} letters in {len(letters)} mailboxes;"
        f" {doubled} got two, {saved} were not sent again thanks to their checkpoints;"
        f" {len(faults)} wrong"
    )
    print("WRONG: see above." if faults else "Right: everybody has one letter, nobody has two.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(play(main))
