"""Small files that no parser likes. Each function returns the same bytes on each call."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable
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


def pdf_of(objects: list[bytes]) -> bytes:
    """A PDF of these objects, numbered from 1; the first is its catalogue."""
    out, offsets = io.BytesIO(), []
    out.write(b"%PDF-1.7\n")
    for number, body in enumerate(objects, start=1):
        offsets.append(out.tell())
        out.write(b"%d 0 obj\n%b\nendobj\n" % (number, body))
    table, size = out.tell(), len(objects) + 1
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % size)
    out.writelines(b"%010d 00000 n \n" % offset for offset in offsets)
    out.write(b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, table))
    return out.getvalue()


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
    return pdf_of(objects)


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


MIB = 2**20
FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
DRAWN = b"BT /F 12 Tf 72 700 Td (%b) Tj ET" % SENTENCE.encode()
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OPEN_DOCUMENT = "urn:oasis:names:tc:opendocument:xmlns:"


def _stream(data: bytes, entries: bytes = b"") -> bytes:
    return b"<< %b /Length %d >>\nstream\n%b\nendstream" % (entries, len(data), data)


def _deflated(beginning: bytes, repeated: bytes, size_bytes: int) -> bytes:
    """A thousandth of its size, made in pieces."""
    packer = zlib.compressobj()
    piece = repeated * (MIB // len(repeated))
    pieces = [packer.compress(beginning), *(packer.compress(piece) for _ in range(size_bytes // len(piece)))]
    return b"".join(pieces) + packer.flush()


def _page(content: bytes, *others: bytes, font: bytes = FONT, resources: bytes = b"") -> bytes:
    """A PDF of one page; the others are its objects from 6 on."""
    own = b"/MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> %b >>" % resources
    return pdf_of(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
            b"<< /Type /Page /Parent 2 0 R %b >>" % own,
            content,
            font,
            *others,
        ]
    )


def pdf_of_pages(count: int = 100_000) -> bytes:
    """Pages without end, all of them the same object."""
    page = (
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>"
    )
    tree = b"<< /Type /Pages /Count %d /Kids [%b] >>" % (count, b"3 0 R " * count)
    return pdf_of([b"<< /Type /Catalog /Pages 2 0 R >>", tree, page, _stream(DRAWN), FONT])


def pdf_claiming_pages() -> bytes:
    """One page, where two thousand million are promised."""
    return _page(_stream(DRAWN)).replace(b"/Count 1", b"/Count 2000000000")


def pdf_of_cyclic_pages() -> bytes:
    """A tree of pages that grows into itself."""
    return pdf_of(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Count 10 /Parent 3 0 R /Kids [3 0 R 2 0 R] >>",
            b"<< /Type /Pages /Count 10 /Parent 2 0 R /Kids [2 0 R 3 0 R] >>",
        ]
    )


def pdf_with_cyclic_outline() -> bytes:
    """A table of contents whose entry comes after and below itself."""
    entry = b"<< /Title (A) /Next 7 0 R /First 7 0 R /Dest [3 0 R /Fit] >>"
    whole = _page(_stream(DRAWN), b"<< /First 7 0 R /Last 7 0 R /Count 9 >>", entry)
    return whole.replace(b"/Type /Catalog", b"/Type /Catalog /Outlines 6 0 R")


def pdf_of_forms() -> bytes:
    """Billion laughs in a PDF: a drawing of ten drawings of ten drawings."""
    head = b"/Type /XObject /Subtype /Form /BBox [0 0 999 999] /Resources"
    forms = [_stream(b"/X Do " * 10, b"%b << /XObject << /X %d 0 R >> >>" % (head, 7 + n)) for n in range(9)]
    last = _stream(DRAWN, head + b" << /Font << /F 5 0 R >> >>")
    return _page(_stream(b"/X Do"), *forms, last, resources=b"/XObject << /X 6 0 R >>")


def pdf_bomb() -> bytes:
    """A page whose drawing unpacks to 600 MB."""
    return _page(_stream(_deflated(b"", b" ", 600 * MIB), b"/Filter /FlateDecode"))


def pdf_font_bomb() -> bytes:
    """A typeface that unpacks to 600 MB."""
    font = b"<< /Type /Font /Subtype /TrueType /FontDescriptor << /FontName /A /Flags 4 /FontFile2 6 0 R >> >>"
    program = _stream(_deflated(b"\0\1\0\0", b"\0", 600 * MIB), b"/Filter /FlateDecode /Length1 2147483647")
    return _page(_stream(DRAWN), program, font=font)


def pdf_font_claiming_glyphs() -> bytes:
    """A typeface with two thousand million widths, by its own account."""
    font = b"<< /Type /Font /Subtype /TrueType /BaseFont /A /FirstChar 0 /LastChar 2000000000 /Widths 7 0 R >>"
    return _page(_stream(DRAWN), font=font)


def pdf_claiming_picture(filter_name: bytes = b"/FlateDecode") -> bytes:
    """A picture of four million million million dots, by its own account."""
    size = b"/Width 2000000000 /Height 2000000000 /ColorSpace /DeviceRGB /BitsPerComponent 8"
    picture = _stream(zlib.compress(b"x"), b"/Type /XObject /Subtype /Image %b /Filter %b" % (size, filter_name))
    return _page(_stream(DRAWN + b" q 9 0 0 9 0 0 cm /I Do Q"), picture, resources=b"/XObject << /I 6 0 R >>")


def pdf_jbig2() -> bytes:
    """The same in the one format whose decoder has a history."""
    return pdf_claiming_picture(b"/JBIG2Decode")


def pdf_of_arrays() -> bytes:
    """Arrays in arrays, three million deep."""
    return _page(_stream(DRAWN)).replace(b"/Type /Catalog", b"/Type /Catalog /X " + b"[" * 3_000_000)


def pdf_and_zip() -> bytes:
    """A PDF and a DOCX in one: sound as either."""
    return _page(_stream(DRAWN)) + _docx(WRITTEN)


def html_and_pdf() -> bytes:
    """A page with a PDF in a comment: readers of PDF skip what comes before."""
    return b"<html><!--" + _page(_stream(DRAWN)) + b"--><p>" + SENTENCE.encode()


def _zip(parts: Iterable[tuple[str, str | bytes]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in parts:
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, 1)
    return out.getvalue()


def _docx(body: str, *others: tuple[str, str | bytes], before: str = "") -> bytes:
    types = f'<Types xmlns="{PACKAGE}/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>'
    main = f'{before}<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>'
    return _zip([("[Content_Types].xml", types), ("word/document.xml", main), *others])


WRITTEN = f"<w:p><w:r><w:t>{SENTENCE}</w:t></w:r></w:p>"


def docx_bomb() -> bytes:
    """150 MB of white space in the text."""
    return _docx(WRITTEN + " " * 150_000_000)


def docx_picture_bomb() -> bytes:
    """150 MB of picture."""
    return _docx(WRITTEN, ("word/media/image1.png", bytes(150_000_000)))


def docx_lying_bomb() -> bytes:
    """The same bomb, which says in both of its directories that it unpacks to 1,000 bytes."""
    whole = docx_bomb()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        size_bytes = archive.getinfo("word/document.xml").file_size
    return whole.replace(size_bytes.to_bytes(4, "little"), (1_000).to_bytes(4, "little"))


def docx_laughs() -> bytes:
    """Entities of entities, three thousand million characters if a reader follows them."""
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    return _docx(WRITTEN.replace(SENTENCE, "&l9;"), before=f'<!DOCTYPE x [<!ENTITY l0 "lol">{entities}]>')


def docx_external_entity() -> bytes:
    """Asks its reader to put a file of the reader's own machine into the text."""
    outside = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    return _docx(WRITTEN.replace(SENTENCE, "&e;"), before=outside)


def docx_of_tables() -> bytes:
    """Tables in tables, a hundred thousand deep."""
    return _docx("<w:tbl><w:tr><w:tc>" * 100_000 + WRITTEN + "</w:tc></w:tr></w:tbl>" * 100_000)


def docx_of_parts() -> bytes:
    """Twenty thousand empty parts."""
    return _docx(WRITTEN, *((f"word/media/{number}", b"") for number in range(20_000)))


def docx_in_docx() -> bytes:
    """A bomb in an archive in an archive; what is attached is not unpacked."""
    return _docx(WRITTEN, ("word/embeddings/a.docx", docx_bomb()))


def docx_of_overlapping_parts() -> bytes:
    """A thousand parts that share one place in the file, as in the bomb of 42 kB that unpacks to 5 GB."""
    whole = _docx(WRITTEN + " " * 5_000_000)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        directory = archive.start_dir
    entry = whole.index(b"word/document.xml", directory) - 46
    more = b"".join(whole[entry : entry + 46] + b"word/media/%06d" % number for number in range(1_000))
    listed = whole[directory:-22] + more
    count = (2 + 1_000).to_bytes(2, "little") * 2
    end = b"PK\5\6\0\0\0\0" + count + len(listed).to_bytes(4, "little") + directory.to_bytes(4, "little") + b"\0\0"
    return whole[:directory] + listed + end


def odt_of_sections() -> bytes:
    """Sections in sections, a hundred thousand deep."""
    sections = "<text:section>" * 100_000 + f"<text:p>{SENTENCE}</text:p>" + "</text:section>" * 100_000
    spaces = f'xmlns:office="{OPEN_DOCUMENT}office:1.0" xmlns:text="{OPEN_DOCUMENT}text:1.0"'
    body = f"<office:body><office:text>{sections}</office:text></office:body>"
    return _zip([("content.xml", f"<office:document-content {spaces}>{body}</office:document-content>")])


def _xlsx(cells: dict[str, str], strings: str = "") -> bytes:
    rows = "".join(f'<row><c r="{place}"><v>{value}</v></c></row>' for place, value in cells.items())
    main = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
    types = f'<Override PartName="/xl/workbook.xml" ContentType="{main}"/>'
    related = f'<Relationships xmlns="{PACKAGE}/relationships">%s</Relationships>'
    relation = f'<Relationship Id="%s" Type="{OFFICE}/%s" Target="%s"/>'
    sheets = relation % ("s", "worksheet", "sheet.xml") + relation % ("t", "sharedStrings", "strings.xml")
    workbook = f'<workbook xmlns="{SHEET}" xmlns:r="{OFFICE}"><sheets>%s</sheets></workbook>'
    sheet = f'<worksheet xmlns="{SHEET}"><dimension ref="A1:XFD1048576"/><sheetData>{rows}</sheetData></worksheet>'
    return _zip(
        [
            ("[Content_Types].xml", f'<Types xmlns="{PACKAGE}/content-types">{types}</Types>'),
            ("_rels/.rels", related % (relation % ("r", "officeDocument", "xl/workbook.xml"))),
            ("xl/workbook.xml", workbook % '<sheet name="S" sheetId="1" r:id="s"/>'),
            ("xl/_rels/workbook.xml.rels", related % sheets),
            ("xl/sheet.xml", sheet),
            ("xl/strings.xml", f'<sst xmlns="{SHEET}" {strings}/>'),
        ]
    )


def xlsx_claiming_cells() -> bytes:
    """One cell, where the sheet says that it has all that there can be."""
    return _xlsx({"A1": "5"})


def xlsx_of_far_cells() -> bytes:
    """Two cells in opposite corners; a grid of what is between takes 500 GB."""
    return _xlsx({"A1": "5", "XFD1048576": "5"})


def xlsx_beyond_the_grid() -> bytes:
    """A cell outside of what a spreadsheet can have."""
    return _xlsx({"A1": "5", "ZZZZZZ4294967295": "5"})


def xlsx_claiming_strings() -> bytes:
    """A table of no strings, which promises four thousand million."""
    return _xlsx({"A1": "5"}, 'count="4294967295" uniqueCount="4294967295"')


def epub_of_outside_paths() -> bytes:
    """Parts whose names lead out of the folder that somebody may unpack them into, and a chapter that does."""
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><manifest>'
        '<item id="c" href="c.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="d" href="../../../../../../etc/passwd" media-type="application/xhtml+xml"/>'
        '</manifest><spine><itemref idref="c"/><itemref idref="d"/></spine></package>'
    )
    container = f'<container xmlns="{OPEN_DOCUMENT}container"><rootfiles><rootfile full-path="o.opf"/></rootfiles>'
    chapter = f'<html xmlns="http://www.w3.org/1999/xhtml"><body><p>{SENTENCE}</p></body></html>'
    outside = [("../../../../tmp/outside", "x"), ("/etc/outside", "x"), ("..\\..\\outside", "x")]
    return _zip(
        [("META-INF/container.xml", container + "</container>"), ("o.opf", package), ("c.xhtml", chapter), *outside]
    )


def html_of_divs() -> bytes:
    """A million elements in one another."""
    return b"<div>" * 1_000_000 + SENTENCE.encode()


def html_of_wide_cells() -> bytes:
    """A table's cell over a thousand million columns and rows."""
    return b"<table><tr><td colspan=1000000000 rowspan=1000000000>%b</td></tr></table>" % SENTENCE.encode()


def rtf_of_braces() -> bytes:
    """Groups in groups, a million deep."""
    return b"{\\rtf1 " + b"{" * 1_000_000 + SENTENCE.encode() + b"}" * 1_000_001


def mail_of_parts() -> bytes:
    """Twenty thousand parts."""
    part = b"--b\r\nContent-Type: text/plain\r\n\r\nThe pin.\r\n"
    return b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + part * 20_000 + b"--b--\r\n"


def mail_of_mails() -> bytes:
    """A mail in a mail in a mail, five thousand deep."""
    head = b"MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\n"
    return head * 5_000 + b"Content-Type: text/plain\r\n\r\n" + SENTENCE.encode()


def csv_of_one_line() -> bytes:
    """A row of 100 MB."""
    return b"pin,yellow," * (100_000_000 // 11)


def text_of_accents() -> bytes:
    """One letter under two hundred thousand accents."""
    return ("e" + "\u0301" * 200_000).encode()


def many_headings() -> bytes:
    """A heading on every line, which makes a chunk of every line."""
    return b"# Pin\n\nIs yellow.\n\n" * 10_000


def zipped_by_gzip() -> bytes:
    """100 MB by another packer, to be sent as a DOCX."""
    return zlib.compress(bytes(100_000_000), wbits=31)
