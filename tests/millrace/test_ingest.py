"""Ingesting: ids that stay, and files that fail alone."""

import io
import re
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from rich.console import Console

from millrace.cli.use import files_of
from millrace.client import Gateway
from millrace.ingest import document_id, ingest_files
from millrace.local.ports import free_port
from schemas.events import DocumentId


@given(st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=300))
def test_any_path_makes_a_valid_id(path: str) -> None:
    assert TypeAdapter(DocumentId).validate_python(document_id(path)) == document_id(path)


def test_an_id_is_readable_and_of_its_path_alone() -> None:
    assert re.fullmatch(r"docs-m-hle.md-[0-9a-f]{12}", document_id("docs/mühle.md"))
    assert document_id("docs/mu\u0308hle.md") == document_id("docs/mühle.md")
    assert document_id("docs/a b.md") != document_id("docs/a-b.md")


def test_a_file_has_the_same_id_however_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = tmp_path / "docs"
    (docs / "below").mkdir(parents=True)
    for name in ("a.md", "b.md", "below/a.md"):
        (docs / name).write_text(name)
    whole = dict(files_of([str(docs)]))
    assert len(whole) == len(set(whole.values())) == 3
    assert list(dict(files_of([str(docs / "a.md")])).values()) == [whole[docs / "a.md"]]
    assert set(dict(files_of([str(docs / "*.md")])).values()) == {whole[docs / "a.md"], whole[docs / "b.md"]}
    monkeypatch.chdir(docs)
    assert set(dict(files_of(["."])).values()) == set(whole.values())
    assert len(list(files_of([".", str(docs), "a.md"]))) == 3


def test_two_files_are_never_one_document(tmp_path: Path) -> None:
    for parent in ("x", "y"):
        (tmp_path / parent / "docs").mkdir(parents=True)
        (tmp_path / parent / "docs" / "a.md").write_text(parent)
    with pytest.raises(typer.BadParameter, match="would be one document"):
        list(files_of([str(tmp_path / "x" / "docs"), str(tmp_path / "y" / "docs")]))
    assert len(list(files_of([str(tmp_path)]))) == 2


async def test_each_file_fails_by_itself(tmp_path: Path) -> None:
    present = tmp_path / "a.md"
    present.write_text("A mill.")
    console = Console(file=io.StringIO(), width=200)
    async with Gateway(f"http://127.0.0.1:{free_port()}") as nobody:
        files = [present, tmp_path / "gone.md", present]
        assert await ingest_files(nobody, files, console, parallel=2, wait=True, fields={}) == 3
    assert isinstance(console.file, io.StringIO)
    assert "cannot be reached" in console.file.getvalue()


def test_a_name_that_is_no_text_has_an_id_too() -> None:
    """Names come from the file system, which knows bytes; Python shows them as halves of surrogate pairs."""
    assert document_id("\udd00") != document_id("\udcff")
