"""One file parsed by itself."""

from pathlib import Path

from schemas.errors import MillraceError
from streams.parser import Parsed, Parser


async def parsed_by(parser: Parser, path: Path, media_type: str) -> Parsed:
    """The parsed file. Raises what `Parser.parse` raises, and what is wrong with the file."""
    [result] = await parser.parse([(path, media_type)])
    if isinstance(result, MillraceError):
        raise result
    return result
