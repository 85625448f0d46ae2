"""What the guarantees cost: each of these leaves one out, in the servers alone; Millrace itself has no such switch."""

import psycopg

WITHOUT = {
    "synchronous commit": "ALTER SYSTEM SET synchronous_commit = off",
    "fsync": "ALTER SYSTEM SET fsync = off",
}


def set_up(dsn: str, statement: str) -> None:
    """Change a setting of a server of the benchmark's own while it runs."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement)
        connection.execute("SELECT pg_reload_conf()")
