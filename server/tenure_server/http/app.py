"""The routes. Everything is a GET, changes nothing, and takes bounded work."""

from __future__ import annotations

import asyncio

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tenure_protocol.limits import QUEUE_NAME_CHARS_MAX
from tenure_server.http import health
from tenure_server.http.metrics import CONTENT_TYPE, exposition
from tenure_server.hub import Hub
from tenure_server.operations import SERVER

INDEX: dict[str, object] = {
    "server": SERVER,
    "routes": ["/metrics", "/livez", "/readyz", "/v1/queues/{queue}/scale"],
}
_NO_STORE = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


def build_app(hub: Hub) -> Starlette:
    """The application of one broker."""
    one_scrape = asyncio.Lock()

    async def index(request: Request) -> Response:
        return _json(INDEX)

    async def livez(request: Request) -> Response:
        return _checked(health.live(hub))

    async def readyz(request: Request) -> Response:
        return _checked(health.ready(hub))

    async def metrics(request: Request) -> Response:
        # One at a time: impatient scrapers must not multiply the work.
        async with one_scrape:
            text = await exposition(hub)
        return Response(text, media_type=CONTENT_TYPE, headers=_NO_STORE)

    async def scale(request: Request) -> Response:
        name = request.path_params["queue"]
        info = (
            hub.engine.queue_info(name, hub.clock()) if len(name) <= QUEUE_NAME_CHARS_MAX else None
        )
        if info is None:
            return _json({"error": "QUEUE_NOT_FOUND", "message": "there is no such queue"}, 404)
        return _json(scale_figures(info))

    return Starlette(
        exception_handlers={404: _refused, 405: _refused},
        routes=[
            Route("/", index),
            Route("/livez", livez),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            Route("/v1/queues/{queue}/scale", scale),
        ],
    )


def scale_figures(info: dict[str, object]) -> dict[str, object]:
    """What an autoscaler needs of a queue info. `backlog` is the work that needs a worker now."""
    counts = info["counts"]
    assert isinstance(counts, dict)
    return {
        "queue": info["name"],
        "backlog": counts["ready"] + counts["leased"],
        "backlog_seconds": info["backlog_seconds"],
        "oldest_ready_age_ms": info["oldest_ready_age_ms"],
        "waiting_reserves": info["waiting_reserves"],
        **{state: counts[state] for state in ("ready", "leased", "retrying", "scheduled", "dead")},
    }


async def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    message = "there is no such route" if status == 404 else "everything here is a GET"
    return _json(
        {"error": "NOT_FOUND" if status == 404 else "METHOD_NOT_ALLOWED", "message": message},
        status,
    )


def _checked(checks: list[health.Check]) -> Response:
    report = health.report(checks)
    return _json(report, 200 if report["ok"] else 503)


def _json(content: dict[str, object], status: int = 200) -> Response:
    return JSONResponse(content, status, headers=_NO_STORE)
