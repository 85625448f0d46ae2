"""What the tests of the gateway share, also with those of the database."""

from collections.abc import Iterator

import pytest

from tests.db.conftest import pool
from tests.gateway.alone import Alone, start_alone

__all__ = ["pool"]


@pytest.fixture(scope="session")
def alone(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    """Servers that no worker works for."""
    with start_alone(database_url, tmp_path_factory.mktemp("alone")) as servers:
        yield servers
