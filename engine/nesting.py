"""How deep a page's elements are nested: beyond a depth the HTML reader drops what is inside without a word."""

from html.parser import HTMLParser

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
OPTIONAL_END = {"p", "li", "dt", "dd", "option", "optgroup", "thead", "tbody", "tfoot", "tr", "td", "th", "rt", "rp"}
"""Elements that end where the next of their kind begins, with or without an end tag."""


class _Depth(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.deepest = 0
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            return
        if tag in OPTIONAL_END:
            siblings = len(self._open)
            while siblings and self._open[siblings - 1] in OPTIONAL_END:
                siblings -= 1
            if tag in self._open[siblings:]:
                del self._open[self._open.index(tag, siblings) :]
        self._open.append(tag)
        self.deepest = max(self.deepest, len(self._open))

    def handle_endtag(self, tag: str) -> None:
        for index in range(len(self._open) - 1, -1, -1):
            if self._open[index] == tag:
                del self._open[index:]
                return


def html_depth(page: str) -> int:
    """The number of elements that the innermost one is in, itself included."""
    parser = _Depth()
    parser.feed(page)
    parser.close()
    return parser.deepest
