"""What a terminal is shown."""

import io
import re
from typing import Any

from rich.console import Console

from millrace.show import citation_line, hit_text

PLACE: dict[str, Any] = {"document_id": "d", "revision": 1, "start": 0, "end": 9}


def shown(what: Any) -> str:
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=400)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_words_of_the_query_are_marked() -> None:
    text = "\f An  old\r\n\tmill \x1b[2J stands here." + " And more." * 100
    start = text.index("mill")
    hit = {**PLACE, "text": text, "highlights": [{"start": start, "end": start + 4}]}
    out = shown(hit_text(1, hit))
    assert "\x1b[1;33mmill\x1b[0m" in out
    assert "An old mill [2J stands here. And more." in re.sub(r"\x1b\[[\d;]*m", "", out)
    assert "\x1b[2J" not in out
    assert out.count("And more.") < 40


def test_a_quote_commands_no_terminal() -> None:
    line = citation_line({**PLACE, "number": 1, "quote": "A\nmill\x1b[2J.", "page": 2})
    assert line.plain == "[1] “A mill [2J.” — d, page 2, revision 1, characters 0–9"
