"""A worker's own port: /healthz for the orchestrator, /metrics for Prometheus."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import faust
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


@asynccontextmanager
async def serve_health(host: str, port: int, apps: Sequence[faust.App]) -> AsyncIterator[None]:
    """Serve while the context lasts. Raises OSError if the port is taken."""

    async def healthz(_: web.Request) -> web.Response:
        ailing = [app.conf.id for app in apps if app.crashed or app.should_stop]
        return web.json_response({"ailing": ailing}, status=503 if ailing else 200)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    server = web.Application()
    server.add_routes([web.get("/healthz", healthz), web.get("/metrics", metrics)])
    runner = web.AppRunner(server, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()
