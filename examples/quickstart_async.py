"""Three producers, one worker and a waiting caller in one event loop, over one connection."""

import asyncio

from tenure import AsyncClient, NewJob


async def work(client: AsyncClient, count: int) -> None:
    while count > 0:
        jobs = await client.reserve("thumbnails", max_jobs=10, wait="10s")
        await client.ack(jobs, results=[f"{job.payload['width']} px wide" for job in jobs])
        count -= len(jobs)


async def main() -> None:
    async with AsyncClient() as client:
        new = [NewJob("resize", {"width": width}, retention="1h") for width in (64, 128, 256)]
        ids = await client.enqueue_many("thumbnails", new)
        worker = asyncio.create_task(work(client, len(new)))
        for job_id in ids:
            info = await client.wait(job_id, timeout="10s")  # pushed by the broker, not polled
            print(info.state, info.result)
        await worker


asyncio.run(main())
