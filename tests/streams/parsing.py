"""One file parsed by itself."""

from pathlib import Path

from streams.parser import File, Parsed, Parser


async def parsed_by(parser: Parser, path: Path, media_type: str) -> Parsed:
    """The parsed file. Raises what `Parser.parse` raises, and what is wrong with the file."""
    size_bytes = path.stat().st_size  # noqa: ASYNC240 - it lies here
    [result] = await parser.parse([File(path, media_type, size_bytes)])
    if isinstance(result, Exception):
        raise result
    return result
