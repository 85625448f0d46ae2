"""The gateway over HTTP, from Python."""

from millrace.client.errors import GatewayError, GatewayUnreachable, StreamBroken
from millrace.client.gateway import Gateway

__all__ = ["Gateway", "GatewayError", "GatewayUnreachable", "StreamBroken"]
