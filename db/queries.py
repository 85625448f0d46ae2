"""The named queries of `db/sql`, loaded once. The modules beside this one give them types."""

from functools import cache
from pathlib import Path
from typing import Any

import aiosql

SQL = Path(__file__).parent / "sql"


@cache
def load(name: str, **constants: int) -> Any:
    """Load ``db/sql/<name>.sql``; ``{constant}`` in it is replaced by a number."""
    text = (SQL / f"{name}.sql").read_text()
    for constant, value in constants.items():
        text = text.replace(f"{{{constant}}}", str(value))
    return aiosql.from_str(text, "asyncpg", mandatory_parameters=False)
