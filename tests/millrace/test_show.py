"""What a terminal is shown."""

import io
import re
from typing import Any

from rich.console import Console

from millrace.show import citation_line, hit_text, letter_text, status_text

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


def test_a_dead_letter_is_shown_with_its_record() -> None:
    letter = {
        "letter_id": "documents.submitted-0-5",
        "state": "replayed",
        "document_id": "d",
        "revision": 5,
        "stage": "parse",
        "error_type": "unreadable",
        "error_message": "No\x1b[2J.",
        "attempt": 2,
        "topic": "documents.submitted",
        "partition": 0,
        "position": 5,
        "failed_at": "2026-01-02T03:04:05Z",
        "history": [{"at": "2026-01-02T04:00:00Z", "action": "replayed", "position": 7}],
        "headers": [{"name": "ce_type", "text": "x"}, {"name": "raw", "base64": "/w=="}],
        "key": {"text": "t/d"},
        "value": None,
    }
    assert letter_text(letter).plain.splitlines() == [
        "dead letter documents.submitted-0-5 replayed, 2026-01-02T03:04:05, unreadable",
        "document: d revision 5",
        "error: parse, attempt 2: No [2J.",
        "record: documents.submitted partition 0 position 5",
        "2026-01-02T04:00:00: replayed",
        "header ce_type: x",
        "header raw: base64 /w==",
        "key: t/d",
    ]


def test_a_status_says_why() -> None:
    error = {"stage": "parse", "type": "unreadable", "message": "No."}
    status = {"document_id": "d", "state": "failed", "revision": 5, "attempt": 2, "error": error}
    assert status_text(status).plain == "d: failed (revision 5, attempt 2)\nparse said unreadable: No."
