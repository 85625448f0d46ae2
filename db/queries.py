"""The named queries of `db/sql`, loaded once. The modules beside this one give them types."""

from functools import cache
from pathlib import Path
from typing import Any

import aiosql

SQL = Path(__file__).parent / "sql"


@cache
def load(name: str, **constants: int | str) -> Any:
    """Load ``db/sql/<name>.sql``; ``{constant}`` in it is replaced by a number, or by a string as an SQL literal."""
    text = (SQL / f"{name}.sql").read_text()
    for constant, value in constants.items():
        text = text.replace(f"{{{constant}}}", str(value) if isinstance(value, int) else literal(value))
    return aiosql.from_str(text, "asyncpg", mandatory_parameters=False)


def literal(text: str) -> str:
    """Text as an SQL literal, for the few places that take no parameter."""
    return "'" + text.replace("'", "''") + "'"
