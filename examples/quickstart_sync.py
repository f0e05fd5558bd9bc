"""A job's whole life with the blocking client: enqueued, leased, done, its result fetched."""

from tenure import Client

with Client() as client:  # TENURE_URL, or tenure://localhost:7733
    job_id = client.enqueue(
        "texts", "count_words", {"text": "to be or not to be"}, priority="high", retention="1h"
    )

    for job in client.reserve("texts", wait="10s", lease="1m"):
        try:
            words = job.payload["text"].split()  # the work
        except Exception as error:
            client.fail(job, error)  # tried again later, by the queue's retry policy
        else:
            client.ack(job, {"words": len(words)})

    print(client.get(job_id).result)
