"""Runs the gateway: first its connections, then its port."""

import asyncio
import signal
from contextlib import suppress

import uvicorn

from gateway import state
from gateway.app import create_app
from gateway.settings import GatewaySettings
from schemas.broker import BrokerSettings
from schemas.log import until_log_changes

FINISH_S = 10
"""For what is being answered when the gateway is told to stop."""


async def serve(settings: GatewaySettings) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises what connecting raises, before anything listens, and `LogChanged` where Kafka is another one than before.
    """
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
        watching = asyncio.create_task(until_log_changes(BrokerSettings(), opened.log_id), name="log")
        watching.add_done_callback(lambda _: setattr(server, "should_exit", True))
        await server.serve()
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
