"""Hits, citations, statuses and dead letters as a terminal shows them."""

import re
from typing import Any

from rich.console import Group
from rich.text import Text

SHOWN_CHARS = 280

# Neither spaces nor what a terminal would obey.
_WORD = re.compile(r"[^\s\x00-\x1f\x7f-\x9f]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def hit_text(number: int, hit: dict[str, Any]) -> Group:
    """A hit: where it is, and the beginning of its text with the words of the query marked."""
    # One for one, so that the spans stay right: rich drops some of these.
    text = Text(_CONTROL.sub(" ", hit["text"]))
    for span in hit["highlights"]:
        text.stylize("not dim bold yellow", span["start"], span["end"])
    first = max(0, (hit["highlights"] or [{"start": 0}])[0]["start"] - SHOWN_CHARS // 3)
    shown = text[first : first + SHOWN_CHARS]
    words = [shown[word.start() : word.end()] for word in _WORD.finditer(shown.plain)]
    return Group(Text(f"{number}. {place(hit)}", style="bold"), Text(" ", style="dim").join(words), Text())


def citation_line(citation: dict[str, Any]) -> Text:
    """A citation: its number, its quote, and where exactly that stands."""
    line = Text(f"[{citation['number']}] ", style="bold cyan")
    line.append(f"“{' '.join(_WORD.findall(citation['quote']))}”", style="italic")
    line.append(f" — {place(citation)}", style="dim")
    return line


def place(found: dict[str, Any]) -> str:
    """Document, page, headings and span."""
    parts = [found.get("title") or found.get("filename") or found["document_id"]]
    if found.get("page"):
        parts.append(f"page {found['page']}")
    if found.get("heading_path"):
        parts.append(" › ".join(found["heading_path"][-2:]))
    parts.append(f"revision {found['revision']}, characters {found['start']}–{found['end']}")
    return ", ".join(parts)


def status_text(status: dict[str, Any]) -> Text:
    """Where a document stands, and why if something is wrong."""
    text = Text(f"{status['document_id']}: {status['state']}", style="bold")
    text.append(f" (revision {status['revision']}, attempt {status['attempt']})", style="dim")
    if error := status.get("error"):
        text.append(f"\n{error['stage']} said {error['type']}: {_one_line(error['message'])}", style="not bold red")
    return text


def letter_line(letter: dict[str, Any]) -> Text:
    """A dead letter in a line."""
    text = Text(f"dead letter {letter['letter_id']}", style="cyan")
    text.append(f" {letter['state']}, {letter['failed_at'][:19]}, {letter['error_type']}", style="not bold default")
    return text


def letter_text(letter: dict[str, Any]) -> Text:
    """A dead letter with its record."""
    text = letter_line(letter)
    about = {
        "document": letter["document_id"] and f"{letter['document_id']} revision {letter['revision']}",
        "error": f"{letter['stage']}, attempt {letter['attempt']}: {letter['error_message']}",
        "record": f"{letter['topic']} partition {letter['partition']} position {letter['position']}",
        **{f"{each['at'][:19]}": each["action"] for each in letter["history"]},
        **{f"header {header['name']}": _bytes(header) for header in letter["headers"]},
        "key": _bytes(letter["key"] or {}),
        "value": _bytes(letter["value"] or {}),
    }
    for name, value in about.items():
        if value:
            text.append(f"\n{name}: ", style="not bold dim").append(_one_line(value), style="default")
    return text


def _bytes(shown: dict[str, Any]) -> str:
    return shown.get("text") or (f"base64 {shown['base64']}" if shown.get("base64") else "")


def _one_line(text: str) -> str:
    return _CONTROL.sub(" ", text)
