import zipfile
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import docx
import pytest

from engine import markup
from engine.archive import OLE_MAGIC
from engine.document import Heading, ParsedDocument, ParseLimits
from engine.errors import (
    DamagedDocument,
    EmptyDocument,
    EncryptedDocument,
    InvalidText,
    MediaTypeMismatch,
    TextTooLong,
    UnsupportedMediaType,
)
from engine.parse import SUPPORTED_MEDIA_TYPES, media_type_of, parse

Read = Callable[..., ParsedDocument]

PLAIN, MARKDOWN = "text/plain", "text/markdown"


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(data: bytes | str, media_type: str, limits: ParseLimits | None = None) -> ParsedDocument:
        path = tmp_path / "document"
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return parse(path, media_type, limits or ParseLimits())

    return read


def archive(path: Path, parts: dict[str, str]) -> bytes:
    with zipfile.ZipFile(path, "w") as file:
        for name, text in parts.items():
            file.writestr(name, text)
    return path.read_bytes()


def test_media_types_go_by_the_extension() -> None:
    assert media_type_of("Report.PDF") == "application/pdf"
    assert media_type_of("a/b.c/notes.md") == MARKDOWN
    assert media_type_of("page.htm") == media_type_of("page.html") == "text/html"
    assert media_type_of("no-extension") is None
    assert media_type_of("picture.png") is None
    assert all(media_type_of(f"x{end}") == kind for kind, ends in SUPPORTED_MEDIA_TYPES.items() for end in ends)


class TestPlain:
    def test_text_stays_as_it_is(self, read: Read) -> None:
        text = "Grüße,\n\n  indented # no heading\n\ttab – “quotes” 😀\n"
        assert read(text, PLAIN) == ParsedDocument(text)

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
    def test_byte_order_marks_are_understood_and_left_out(self, read: Read, encoding: str) -> None:
        assert read("Müller 😀".encode(encoding), PLAIN).text == "Müller 😀"

    def test_line_ends_become_newlines(self, read: Read) -> None:
        assert read("one\r\ntwo\rthree\n", PLAIN).text == "one\ntwo\nthree\n"

    def test_control_characters_become_spaces(self, read: Read) -> None:
        assert read("a\x07b\x1b[31mc\x0cd", PLAIN).text == "a b [31mc d"

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"good \xff bad", "Byte 5 is not UTF-8"),
            (b"\xef\xbb\xbfab\xe2\x82", "Byte 5 is not UTF-8"),
            (b"surrogate \xed\xa0\x80", "Byte 10 is not UTF-8"),
            ("ü\0".encode(), "Byte 2 is a NUL"),
            ("ab\0".encode("utf-16"), "Byte 6 is a NUL"),
            (b"\xff\xfe\x00\xd8", "Byte 2 is not UTF-16-LE"),
        ],
    )
    def test_poisoned_text_is_refused_with_its_place(self, read: Read, data: bytes, reason: str) -> None:
        with pytest.raises(InvalidText, match=reason):
            read(data, PLAIN)

    @pytest.mark.parametrize("data", [b"", b" \n\t\x0c\n", b"\xef\xbb\xbf"])
    def test_nothing_is_empty(self, read: Read, data: bytes) -> None:
        with pytest.raises(EmptyDocument):
            read(data, PLAIN)

    @pytest.mark.parametrize(
        "data", [b"%PDF-1.4\n", b"PK\x03\x04rest", b"\x89PNG", b"\x7fELF\x02", b"\xff\xd8\xff\xe0"]
    )
    def test_other_content_is_refused(self, read: Read, data: bytes) -> None:
        with pytest.raises(MediaTypeMismatch):
            read(data, PLAIN)

    def test_limits_hold(self, read: Read) -> None:
        with pytest.raises(TextTooLong):
            read("abcdef", PLAIN, ParseLimits(text_chars_max=5))
        with pytest.raises(TextTooLong):
            read("a" * 100, PLAIN, ParseLimits(text_chars_max=5))

    def test_other_media_types_are_not_supported(self, read: Read) -> None:
        with pytest.raises(UnsupportedMediaType, match="image/png"):
            read(b"\x89PNG", "image/png")


class TestMarkdown:
    def test_headings_have_their_places(self, read: Read) -> None:
        text = (
            "Intro\n\n# One *big* `thing`\ntext\n\n```\n# code\n```\n\n> # quoted\n\n"
            "## Two\n\nSetext\n---\n\n    # indented\n"
        )
        document = read(text, MARKDOWN)
        assert document.text == text
        assert document.headings == (
            Heading(1, "One big thing", text.index("# One")),
            Heading(2, "Two", text.index("## Two")),
            Heading(2, "Setext", text.index("Setext")),
        )
        assert document.title == "One big thing"

    def test_front_matter_gives_the_title_and_no_heading(self, read: Read) -> None:
        text = '---\ntitle: "The mill"\ntags: [a]\n---\n\n## Part\n'
        document = read(text, MARKDOWN)
        assert (document.title, document.text) == ("The mill", text)
        assert document.headings == (Heading(2, "Part", text.index("## Part")),)

    def test_characters_beyond_ascii_do_not_shift_headings(self, read: Read) -> None:
        text = "Müller 😀😀\r\n\r\n# Größe\r\n"
        document = read(text, MARKDOWN)
        assert document.text[document.headings[0].start :] == "# Größe\n"


class TestHtml:
    def test_structure_stays_and_machinery_goes(self, read: Read) -> None:
        page = """<!doctype html><html><head><meta charset="utf-8"><title>The &amp; mill</title>
            <meta name="description" content="hidden"><script>var hidden;</script><style>.hidden{}</style></head>
            <body><nav><a href="/">hidden</a></nav><main><h1>Mill &amp; wheel</h1><p>It <b>turns</b>.</p>
            <h2>Parts</h2><table><tr><th>Part</th><th>Nm</th></tr><tr><td>Valve</td><td>5</td></tr></table>
            <img src="data:image/png;base64,aGlkZGVu" alt="A picture"><form><p>In a form.</p></form></main>
            <script>document.write("hidden")</script></body></html>"""
        document = read(page, "text/html")
        assert document.title == "The & mill"
        assert [(heading.level, heading.title) for heading in document.headings] == [(1, "Mill & wheel"), (2, "Parts")]
        assert document.text.startswith("# Mill & wheel\n\nIt **turns**.")
        assert "| Valve |" in " ".join(document.text.split())
        assert "A picture" in document.text
        assert "In a form." in document.text
        assert "hidden" not in document.text
        assert "title:" not in document.text

    def test_the_declared_encoding_is_used_where_it_is_not_utf8(self, read: Read) -> None:
        page = '<html><head><meta charset="iso-8859-1"><title>Café</title></head><body><p>Crème</p></body></html>'
        document = read(page.encode("latin-1"), "text/html")
        assert (document.title, document.text) == ("Café", "Crème")
        for declared in ("", '<meta charset="utf-8">', '<meta charset="hex">', '<meta charset="no-such">'):
            with pytest.raises(InvalidText, match="UTF-8"):
                read(f"{declared}<p>Crème</p>".encode("latin-1"), "text/html")

    def test_a_page_without_text_is_empty(self, read: Read) -> None:
        with pytest.raises(EmptyDocument):
            read("<html><head><title>Only a title</title></head><body></body></html>", "text/html")


class TestOffice:
    @pytest.fixture
    def word(self, tmp_path: Path) -> bytes:
        document = docx.Document()
        document.core_properties.title = "The report"
        document.add_heading("First part", 1)
        document.add_paragraph("The wheel turned at once.")
        document.add_heading("Second part", 2)
        document.add_table(1, 2).rows[0].cells[1].text = "5 Nm"
        document.save(str(tmp_path / "word.docx"))
        return (tmp_path / "word.docx").read_bytes()

    def test_docx(self, read: Read, word: bytes) -> None:
        document = read(word, markup.DOCX)
        assert document.title == "The report"
        assert [(heading.level, heading.title) for heading in document.headings] == [
            (1, "First part"),
            (2, "Second part"),
        ]
        assert "The wheel turned at once." in document.text
        assert "5 Nm" in document.text

    def test_half_a_docx_is_damaged(self, read: Read, word: bytes) -> None:
        with pytest.raises(DamagedDocument):
            read(word[: len(word) // 2], markup.DOCX)

    def test_a_docx_with_a_spoiled_part_is_damaged(self, read: Read, tmp_path: Path) -> None:
        with pytest.raises(DamagedDocument):
            read(archive(tmp_path / "bad", {"word/document.xml": "<w:document"}), markup.DOCX)

    def test_a_docx_under_another_type_is_refused(self, read: Read, word: bytes) -> None:
        for media_type in (markup.PPTX, markup.ODT, markup.EPUB, markup.RTF, markup.EMAIL, "text/html"):
            with pytest.raises(MediaTypeMismatch):
                read(word, media_type)
        with pytest.raises(MediaTypeMismatch):
            read(b"%PDF-1.4 anything", markup.DOCX)

    def test_a_password_is_named_as_the_reason(self, read: Read) -> None:
        locked = OLE_MAGIC + bytes(512) + "EncryptedPackage".encode("utf-16-le")
        with pytest.raises(EncryptedDocument):
            read(locked, markup.DOCX)
        with pytest.raises(MediaTypeMismatch):
            read(OLE_MAGIC + bytes(512), markup.DOCX)

    def test_what_unpacks_to_too_much_is_refused(self, read: Read, tmp_path: Path) -> None:
        bomb = archive(tmp_path / "bomb", {"word/document.xml": " " * 100_000})
        with pytest.raises(TextTooLong):
            read(bomb, markup.DOCX, ParseLimits(text_chars_max=1_000))

    def test_odt(self, read: Read, tmp_path: Path) -> None:
        names = "urn:oasis:names:tc:opendocument:xmlns:"
        content = (
            f'<office:document-content xmlns:office="{names}office:1.0" xmlns:text="{names}text:1.0"><office:body>'
            '<office:text><text:h text:outline-level="1">Head</text:h>'
            "<text:p>Hello <text:span>odt</text:span>.</text:p>"
            "</office:text></office:body></office:document-content>"
        )
        document = read(archive(tmp_path / "odt", {"mimetype": markup.ODT, "content.xml": content}), markup.ODT)
        assert (document.text, document.title) == ("# Head\n\nHello odt.", "Head")

    def test_pptx_and_xlsx_are_told_apart_by_their_parts(self, read: Read, tmp_path: Path) -> None:
        with pytest.raises(MediaTypeMismatch, match=r"xl/workbook\.xml"):
            read(archive(tmp_path / "deck", {"ppt/presentation.xml": "<p/>"}), markup.XLSX)


def test_xlsx(read: Read, tmp_path: Path) -> None:
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    cells = "".join(
        f'<row r="{row}"><c r="A{row}" t="inlineStr"><is><t>{name}</t></is></c><c r="B{row}"><v>{value}</v></c></row>'
        for row, (name, value) in enumerate([("Valve", 5), ("Rotor", 75)], start=1)
    )
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" '
        'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        '<sheet name="Torques" sheetId="1" r:id="s"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="s" '
        f'Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{cells}</sheetData></worksheet>',
    }
    document = read(archive(tmp_path / "sheet", parts), markup.XLSX)
    assert document.headings == (Heading(2, "Torques", 0),)
    assert "| Valve | 5 |" in document.text
    assert "| Rotor | 75 |" in document.text


def test_epub(read: Read, tmp_path: Path) -> None:
    xhtml = '<html xmlns="http://www.w3.org/1999/xhtml"><body><h1>Chapter {0}</h1><p>Text {0}.</p></body></html>'
    parts = {
        "mimetype": markup.EPUB,
        "META-INF/container.xml": '<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
        '<rootfiles><rootfile full-path="c.opf" media-type="application/oebps-package+xml"/></rootfiles></container>',
        "c.opf": '<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="i"><metadata '
        'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>The book</dc:title>'
        '<dc:identifier id="i">1</dc:identifier><dc:language>en</dc:language></metadata><manifest>'
        '<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="b" href="b.xhtml" media-type="application/xhtml+xml"/></manifest>'
        '<spine><itemref idref="a"/><itemref idref="b"/></spine></package>',
        "a.xhtml": xhtml.format(1),
        "b.xhtml": xhtml.format(2),
    }
    document = read(archive(tmp_path / "book", parts), markup.EPUB)
    assert document.title == "The book"
    assert [heading.title for heading in document.headings] == ["Chapter 1", "Chapter 2"]
    assert document.text.endswith("Text 2.")


def test_rtf(read: Read) -> None:
    whole = rb"{\rtf1\ansi{\fonttbl\f0\fswiss Helvetica;}\f0\pard Hello \b bold\b0  caf\'e9.\par Second.\par}"
    assert read(whole, markup.RTF).text == "Hello **bold** café.\n\nSecond."
    with pytest.raises(DamagedDocument):
        read(whole[:60], markup.RTF)
    with pytest.raises(MediaTypeMismatch):
        read(b"hello", markup.RTF)


def test_mail(read: Read) -> None:
    message = EmailMessage()
    message["Subject"], message["From"] = "Größe of the gate", "miller@example.org"
    message.set_content("The gate is two metres wide.")
    document = read(bytes(message), markup.EMAIL)
    assert document.title == "Größe of the gate"
    assert "The gate is two metres wide." in document.text


def test_pptx(read: Read, tmp_path: Path) -> None:
    drawing = "http://schemas.openxmlformats.org/drawingml/2006/main"
    slides = "http://schemas.openxmlformats.org/presentationml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"

    def shape(number: int, placeholder: str, text: str) -> str:
        return (
            f'<p:sp><p:nvSpPr><p:cNvPr id="{number}" name="s"/><p:cNvSpPr/><p:nvPr>{placeholder}</p:nvPr></p:nvSpPr>'
            f"<p:spPr/><p:txBody><a:bodyPr/><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"
        )

    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r" '
        f'Type="{office}/officeDocument" Target="ppt/presentation.xml"/></Relationships>',
        "ppt/presentation.xml": f'<p:presentation xmlns:p="{slides}" xmlns:r="{office}"><p:sldIdLst>'
        '<p:sldId id="256" r:id="s"/></p:sldIdLst></p:presentation>',
        "ppt/_rels/presentation.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="s" '
        f'Type="{office}/slide" Target="slides/slide1.xml"/></Relationships>',
        "ppt/slides/slide1.xml": f'<p:sld xmlns:p="{slides}" xmlns:a="{drawing}"><p:cSld><p:spTree>'
        + shape(2, '<p:ph type="title"/>', "The wheel")
        + shape(3, '<p:ph idx="1"/>', "It has 36 buckets.")
        + "</p:spTree></p:cSld></p:sld>",
    }
    document = read(archive(tmp_path / "deck", parts), markup.PPTX)
    assert "It has 36 buckets." in document.text
    assert [heading.title for heading in document.headings] == ["The wheel"]
