"""Makes the sample documents that are not committed: two PDFs, a DOCX and a text of five megabytes.

Run as `python -m samples.generate [--out DIR]`. Each run writes the same bytes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from samples import FILES, SOURCES
from samples.diary import diary_lines
from samples.markup import numbered, read
from samples.pdf import Cover, write_pdf
from samples.word import docx_bytes

_MANUAL = Cover(
    title="Halden M7 operator's manual",
    subtitle="Water-driven grain mill with two pairs of stones and SC-4 sluice controller",
    lines=("Translation of the original instructions", "Edition 9, May 2023", "Halden Millworks, Sternbruck"),
    number="HM-703",
)
_CERTIFICATE = Cover("Wendland Technical Inspectorate", "", (), "WTI-2024-08817")


def _write_manual(path: Path) -> None:
    chapters = sorted((SOURCES / "manual").glob("*.md"))
    blocks = read("\n".join(chapter.read_text("utf-8") for chapter in chapters))
    write_pdf(path, _MANUAL, numbered(blocks), book=True)


def _write_certificate(path: Path) -> None:
    write_pdf(path, _CERTIFICATE, read((SOURCES / "certificate.md").read_text("utf-8")), book=False)


def _write_report(path: Path) -> None:
    path.write_bytes(docx_bytes("Edda Vrell", read((SOURCES / "commissioning.md").read_text("utf-8"))))


def _write_diary(path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in diary_lines())


_MAKERS = {
    "halden-m7-manual.pdf": _write_manual,
    "stone-crane-certificate.pdf": _write_certificate,
    "commissioning-report.docx": _write_report,
    "sensor-diary.large.txt": _write_diary,
}


def generate(out: Path = FILES) -> list[Path]:
    """Write the generated documents into `out`, made if it is missing, and return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, write in _MAKERS.items():
        path = out / name
        # Renamed when it is whole: whoever finds the file may rely on it.
        unfinished = path.with_name(f".{name}")
        write(unfinished)
        paths.append(unfinished.replace(path))
    return paths


def corpus() -> list[Path]:
    """All documents of the sample corpus in the order of their names; the generated ones are made if any is missing."""
    if not all((FILES / name).exists() for name in _MAKERS):
        generate()
    return sorted(path for path in FILES.iterdir() if path.is_file() and not path.name.startswith("."))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FILES, help="folder to write into (samples/files)")
    for made in generate(parser.parse_args().out):
        print(f"{made}  {made.stat().st_size:,} bytes")
