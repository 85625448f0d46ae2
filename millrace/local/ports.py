"""Ports on this machine's own address."""

import socket

import psutil

from schemas.errors import MillraceError

HOST = "127.0.0.1"


class PortInUse(MillraceError):
    """A port that Millrace needs is in use."""

    type = "port-in-use"
    hint = (
        "Stop what listens there, or choose another port by "
        "MILLRACE_KAFKA_PORT, MILLRACE_POSTGRES_PORT or MILLRACE_GATEWAY_PORT."
    )


def free_port() -> int:
    """A port on which nothing listens now; another process may still take it first."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def require_free_port(port: int, wanted_by: str) -> None:
    """Raise ``PortInUse`` if somebody listens there."""
    with socket.socket() as probe:
        # As servers do: a port whose old connections are still in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise port_in_use(port, wanted_by) from error


def port_in_use(port: int, wanted_by: str) -> PortInUse:
    """The error, naming who listens there where the system tells us."""
    try:
        listening = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
        pids = {each.pid for each in listening if each.laddr and each.laddr.port == port}
        names = [f"{psutil.Process(pid).name()} (process {pid})" for pid in pids if pid]
    except psutil.Error:
        names = []
    return PortInUse(f"{wanted_by} needs {HOST}:{port}" + (f", where {names[0]} listens." if names else "."))
