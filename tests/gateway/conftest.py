"""What the tests of the gateway share with those of the database."""

from tests.db.conftest import pool

__all__ = ["pool"]
