"""Runs the gateway: first its connections, then its port."""

import asyncio
import signal

import uvicorn

from gateway import state
from gateway.app import create_app
from gateway.settings import GatewaySettings

FINISH_S = 10
"""For what is being answered when the gateway is told to stop."""


async def serve(settings: GatewaySettings) -> None:
    """Serve until SIGINT or SIGTERM. Raises what connecting raises, before anything listens."""
    async with state.open_state(settings) as opened:
        app = create_app(settings)
        state.install(app, opened)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=FINISH_S,
            )
        )
        # uvicorn raises the signal that stopped it once more; the connections are still to be closed then.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: None)
        await server.serve()
