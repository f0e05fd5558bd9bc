"""E-mail that nobody gets twice, although the producer runs again and a worker is killed.

    python -m examples.mail [--customers N]

Every customer on a list shall get one welcome letter. The example has an SMTP server of its own
(aiosmtpd, on this machine, kept in memory), which lets some wait and knows some addresses not.
The producer enqueues a job for everybody who has no letter yet. The first worker is killed with
kill -9 while one letter is half sent, and while others are sent but not yet noted on the list.
The producer runs again, in the middle of it and at the end. Then the mailboxes are counted:
exactly one letter in each. Exit code 0 only then.

Three things keep a letter from being sent twice, each in its own span of time:

1. `unique="welcome-{address}"`: while a job of that name is unfinished, enqueuing it again gives
   the same job. So the producer may run as often as it likes while letters wait. The name is
   free again when the job ends.
2. The list of customers, where the task notes who has their letter, before its job ends. The
   producer leaves these out, and the task looks again: somebody may have enqueued on the
   strength of an older look at the list.
3. `with current_job().checkpoint("sent")` around the sending: when the block has been left, it is
   on the broker's disk that this job has sent its letter. A job that runs again, because its
   worker died or the list could not be written, goes on behind the block.

What is guaranteed: no producer and no retry sends a letter again that was recorded as sent. What
is not: a worker that dies in the moment between the server's "250 OK" and the record sends it
again, because nobody is left who knows. So does one whose connection breaks just then. SMTP has no
way to ask (RFC 1047); no queue can close this gap, only make it small: here it is one round trip
to the broker. And a machine that stands still for longer than the lease, after its look at the
list and before it sends, will send when it goes on, although another worker has the job by then.
For these moments the letter's Message-ID is made from its address: both copies have the same one,
and many mail systems show such a letter once. If a missing letter is better than a second one,
send after the block instead of within it; then it is "at most once".

letters.py     the letter, with a Message-ID that does not change
customers.py   the list of customers, in SQLite
tasks.py       the app: the task that sends one letter
producer.py    a program that enqueues a letter for everybody who has none
mailserver.py  an SMTP server with mailboxes that can be counted
__main__.py    the story and its check
"""
