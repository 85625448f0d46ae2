"""Small files that no parser likes. Each function returns the same bytes on each call."""

from __future__ import annotations

import io
from typing import Any

from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

from samples.markup import Paragraph
from samples.word import docx_bytes

PASSWORD = "sparrow-1887"  # opens the encrypted PDF
SENTENCE = "The locking pin is painted yellow."  # what each readable part says


def _pdf(encrypt: Any = None) -> bytes:
    buffer = io.BytesIO()
    canvas = Canvas(buffer, invariant=1, encrypt=encrypt)
    for page in range(1, 4):
        canvas.drawString(72, 720, f"Page {page}. {SENTENCE}")
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def empty_file() -> bytes:
    """A file of no bytes."""
    return b""


def blank_text() -> bytes:
    """A text of white space only: not empty, but nothing to index."""
    return b" \t\r\n\n \x0c\n" * 40


def truncated_pdf() -> bytes:
    """A PDF that breaks off in the middle: no page is whole, no cross-reference table, no trailer."""
    return _pdf()[:400]


def encrypted_pdf() -> bytes:
    """A PDF that asks for `PASSWORD`."""
    return _pdf(StandardEncryption(PASSWORD, ownerPassword=PASSWORD, strength=128))


def pdf_without_text() -> bytes:
    """A sound PDF of one page that holds a picture of noise and no text, like a scan that was never recognised."""
    picture = bytes((x * x + 31 * y * (x + 7)) % 251 for y in range(64) for x in range(64))
    image = b"<< /Type /XObject /Subtype /Image /Width 64 /Height 64 /ColorSpace /DeviceGray /BitsPerComponent 8"
    drawing = b"q 400 0 0 400 90 200 cm /Scan Do Q"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        b"/Resources << /XObject << /Scan 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(drawing), drawing),
        b"%b /Length %d >>\nstream\n%b\nendstream" % (image, len(picture), picture),
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"xref\n0 6\n0000000000 65535 f \n%btrailer\n<< /Size 6 /Root 1 0 R >>\n" % table
    return out + b"startxref\n%d\n%%%%EOF\n" % out.index(b"xref\n0 6")


def pdf_named_docx() -> bytes:
    """A sound PDF, to be sent under the name and media type of a DOCX."""
    return _pdf()


def png_named_pdf() -> bytes:
    """The head of a PNG picture, to be sent as application/pdf."""
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256))


def binary_named_text() -> bytes:
    """An ELF program's first bytes, to be sent as text/plain."""
    return b"\x7fELF\x02\x01\x01\x00" + bytes((7 * n) % 256 for n in range(2048))


def corrupt_docx() -> bytes:
    """A DOCX whose archive has lost its second half, and with it the directory of its members."""
    whole = docx_bytes("Edda Vrell", [Paragraph(SENTENCE)])
    return whole[: len(whole) // 2]


def zip_named_docx() -> bytes:
    """The smallest archive there is, with no document in it, to be sent as a DOCX."""
    return b"PK\x05\x06" + bytes(18)


def poisoned_utf8() -> bytes:
    """A text of all that hurts: BOM, NUL, invalid and overlong UTF-8, lone surrogates, bidi controls."""
    return b"\n".join(
        [
            b"\xef\xbb\xbf" + SENTENCE.encode(),
            b"NUL \x00 inside, bell \x07, escape \x1b[31m red",
            b"bytes that start nothing \xff \xfe, a broken end \xe2\x82",
            b"overlong slash \xc0\xaf, beyond Unicode \xf5\x80\x80\x80",
            b"lone surrogates \xed\xa0\x80 and \xed\xbf\xbf",
            "bidi \u202eesrever\u202c, isolate \u2067x\u2069, zero width \u200b, noncharacter \uffff".encode(),
            ("combining " + "e" + "\u0301" * 200).encode(),
            SENTENCE.encode(),
        ]
    )


def latin1_text() -> bytes:
    """German in ISO 8859-1, sent as if it were UTF-8."""
    return "Der Müller öffnet das Schütz; die Räder laufen gleichmäßig.\n".encode("latin-1") * 20
