"""Writes a PDF as long and as heavy as asked, in the memory of one page.

The PDF is written object by object, because a layout library keeps the whole document until it is saved.
Run as `python -m samples.big_pdf OUT [--pages N] [--size-bytes N]`.
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from random import Random
from typing import BinaryIO

_CATALOG, _PAGES, _REGULAR, _BOLD = 1, 2, 3, 4
_FIRST_PAGE = 5
_OBJECTS_PER_PAGE = 3  # the page, its text, its image
_SEED = 1887
_IMAGE_WIDTH_PX = 160
_LINE_CHARS = 92  # of Helvetica 10 in the 487 points between the margins of an A4 page

_MILLS = ("Aldermoor", "Corrow", "Tamm", "Hallin", "Sandrow", "Upper Wend", "Ferrand", "Port Isolde", "Saint Orlan")
_PARTS = ("bolter", "runner stone", "sluice gate", "wheel shaft", "elevator", "apron", "damsel", "trash rack", "gear")
_TRAITS = ("worn", "as new", "dry", "out of true", "freshly greased", "noisy", "within its limits", "colder than usual")
_ACTS = ("was measured", "was taken apart", "was cleaned", "was photographed", "was compared with its drawing")
_ENDS = (
    "and will be looked at again after {n} hours",
    "which nobody at {mill} had expected",
    "while the headrace stood at {n} centimetres",
    "so that part {code} was ordered on the same day",
    "and the miller entered {n} in column {small} of sheet {code}",
)


def _sentence(rng: Random) -> str:
    end = rng.choice(_ENDS).format(
        n=rng.randint(11, 999), mill=rng.choice(_MILLS), small=rng.randint(1, 9), code=f"Q{rng.randint(10_000, 99_999)}"
    )
    part, trait, act = rng.choice(_PARTS), rng.choice(_TRAITS), rng.choice(_ACTS)
    return f"At {rng.choice(_MILLS)} the {part} {act} and found {trait}, {end}."


def _text_stream(rng: Random, page: int) -> bytes:
    """One page's drawing commands: a heading, three sections of some 110 words each, and the image in the corner."""
    code = f"{rng.randrange(16**6):06X}"
    commands = ["q 90 0 0 90 455 735 cm /Noise Do Q", "BT", "1 0 0 1 54 770 Tm"]
    commands += [f"/Bold 18 Tf 0 -10 Td (Survey sheet {page}) Tj", "/Regular 10 Tf 13 TL T*"]
    commands += [f"(The mark of sheet {page} is {code}; it stands on no other sheet.) Tj T*"]
    for section in range(1, 4):
        commands += [f"T* /Bold 12 Tf (Section {page}.{section}: {rng.choice(_PARTS)} at {rng.choice(_MILLS)}) Tj"]
        commands += ["/Regular 10 Tf T*"]
        prose = " ".join(_sentence(rng) for _ in range(6))
        commands += [f"({line}) Tj T*" for line in textwrap.wrap(prose, _LINE_CHARS)]
    return "\n".join([*commands, "ET"]).encode("ascii")


class _Writer:
    """Numbers and writes the objects of a PDF; remembers nothing but where each of them starts."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._offsets: dict[int, int] = {}
        file.write(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")

    @property
    def written_bytes(self) -> int:
        return self._file.tell()

    def write(self, number: int, dictionary: str, stream: bytes | None = None) -> None:
        self._offsets[number] = self._file.tell()
        if stream is None:
            self._file.write(f"{number} 0 obj\n<< {dictionary} >>\nendobj\n".encode("ascii"))
        else:
            head = f"{number} 0 obj\n<< {dictionary} /Length {len(stream)} >>\nstream\n"
            self._file.write(head.encode("ascii") + stream + b"\nendstream\nendobj\n")

    def finish(self) -> None:
        start, size = self._file.tell(), len(self._offsets) + 1
        self._file.write(f"xref\n0 {size}\n0000000000 65535 f \n".encode("ascii"))
        self._file.writelines(b"%010d 00000 n \n" % self._offsets[number] for number in range(1, size))
        trailer = f"trailer\n<< /Size {size} /Root {_CATALOG} 0 R >>\nstartxref\n{start}\n%%EOF\n"
        self._file.write(trailer.encode("ascii"))


def write_big_pdf(path: Path, pages: int = 1000, size_bytes: int = 50_000_000) -> None:
    """Write a PDF of `pages` pages with distinct text, filled up to about `size_bytes` with images of noise.

    The text alone takes about 4 kB a page; the file cannot become smaller than that. Each run writes the same bytes.
    """
    rng = Random(_SEED)
    numbers = [_FIRST_PAGE + _OBJECTS_PER_PAGE * index for index in range(pages)]
    with path.open("wb") as file:
        pdf = _Writer(file)
        pdf.write(_CATALOG, f"/Type /Catalog /Pages {_PAGES} 0 R")
        kids = " ".join(f"{number} 0 R" for number in numbers)
        pdf.write(_PAGES, f"/Type /Pages /Count {pages} /Kids [{kids}]")
        for number, font in ((_REGULAR, "Helvetica"), (_BOLD, "Helvetica-Bold")):
            pdf.write(number, f"/Type /Font /Subtype /Type1 /BaseFont /{font} /Encoding /WinAnsiEncoding")
        for index, number in enumerate(numbers):
            text, image = number + 1, number + 2
            share_bytes = (size_bytes - pdf.written_bytes) // (pages - index)
            fonts = f"/Font << /Regular {_REGULAR} 0 R /Bold {_BOLD} 0 R >>"
            resources = f"/Resources << {fonts} /XObject << /Noise {image} 0 R >> >>"
            place = f"/Type /Page /Parent {_PAGES} 0 R /MediaBox [0 0 595 842]"
            pdf.write(number, f"{place} {resources} /Contents {text} 0 R")
            stream = _text_stream(rng, index + 1)
            pdf.write(text, "", stream)
            height_px = max(1, (share_bytes - len(stream)) // _IMAGE_WIDTH_PX)
            kind = "/Type /XObject /Subtype /Image /ColorSpace /DeviceGray /BitsPerComponent 8"
            size = f"/Width {_IMAGE_WIDTH_PX} /Height {height_px}"
            pdf.write(image, f"{kind} {size}", rng.randbytes(_IMAGE_WIDTH_PX * height_px))
        pdf.finish()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pages", type=int, default=1000)
    parser.add_argument("--size-bytes", type=int, default=50_000_000)
    arguments = parser.parse_args()
    write_big_pdf(arguments.out, arguments.pages, arguments.size_bytes)
    print(f"{arguments.out}  {arguments.out.stat().st_size:,} bytes")
