import os
import socket

import pytest

from millrace.local.ports import HOST, PortInUse, free_port, require_free_port


def test_a_free_port_is_free() -> None:
    require_free_port(free_port(), "Kafka")


def test_a_port_in_use_is_named_with_who_listens() -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(
            PortInUse, match=rf"Kafka needs 127.0.0.1:{port}, where .+ \(process {os.getpid()}\) listens"
        ):
            require_free_port(port, "Kafka")


def test_a_port_with_connections_in_time_wait_counts_as_free() -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection((HOST, port))
        accepted, _ = server.accept()
        accepted.close()  # The side that closes first is left in TIME_WAIT.
        client.close()
    require_free_port(port, "Kafka")
