"""A corpus of public texts: what well-known packages bring with their source as documentation, fetched when it is first
asked for and never committed.

Texts that people wrote: of uneven length, full of markup, code and tables, and asked about in their own words.
"""

import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from benchmarks.corpora import Document

PACKAGES = ("Django==5.2", "celery==5.4.0", "Scrapy==2.12.0", "Sphinx==8.1.3")
"""Pinned, so that the corpus is the same everywhere: some thousand documents, ten megabytes."""
SUFFIXES = {".md", ".rst", ".txt"}
FOLDERS = {"doc", "docs"}
CHARACTERS_MIN = 200
"""What is shorter only includes another file."""


def documents() -> Iterator[Document]:
    """A document for each file; each package is a collection. Needs `uv` on the PATH, and a package index."""
    with TemporaryDirectory() as folder:
        for number, package in enumerate(PACKAGES, 1):
            for path, text in _texts(_source(package, Path(folder, str(number)))):
                yield Document(_id(package, path), _title(path, text), text, f"collection-{number}")


def _source(package: str, folder: Path) -> Path:
    """The package's source, as its index has it."""
    download = ["uv", "tool", "run", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*download, "--dest", str(folder), package], check=True)
    [source] = folder.iterdir()
    return source


def _texts(source: Path) -> Iterator[tuple[PurePosixPath, str]]:
    with tarfile.open(source) as files:
        for file in files:
            path = PurePosixPath(*PurePosixPath(file.name).parts[1:])
            content = files.extractfile(file) if file.isfile() else None
            if content and path.suffix in SUFFIXES and FOLDERS & set(path.parts):
                text = content.read().decode(errors="replace")
                if len(text) >= CHARACTERS_MIN:
                    yield path, text


def _id(package: str, path: PurePosixPath) -> str:
    return re.sub(r"[^A-Za-z0-9._~-]", "-", f"{package.partition('=')[0]}-{'-'.join(path.parts)}")[-200:].lstrip("._~-")


def _title(path: PurePosixPath, text: str) -> str:
    """The first line that is neither markup nor a mark to link to."""
    lines = (line.strip("#= ") for line in text.splitlines() if not line.startswith((".. ", ":")))
    return next((line for line in lines if re.search(r"\w{3}", line)), path.stem)[:200]
