from pathlib import Path

import pytest

from engine.document import ParseLimits
from engine.errors import NestedTooDeeply
from engine.markup import HTML_DEPTH_MAX
from engine.nesting import html_depth
from engine.parse import parse


@pytest.mark.parametrize(
    ("page", "depth"),
    [
        ("", 0),
        ("text", 0),
        ("<p>one<p>two<p>three", 1),
        ("<p>one<br>two<img src=x></p><hr>", 1),
        ("<ul><li>one<li>two<ul><li>inner</ul><li>three</ul>", 4),
        ("<table><tr><td>1<td>2<tr><td>3<td>4</table>", 3),
        ("<dl><dt>a<dd>b<dt>c<dd>d</dl>", 3),
        ("<div></p></span><div></div></div></div>", 2),
        ("<script>if (a<b) {'<div><div>'}</script>", 1),
    ],
)
def test_depth_is_that_of_open_elements(page: str, depth: int) -> None:
    assert html_depth(page) == depth


def _nested(folder: Path, depth: int) -> Path:
    path = folder / "page.html"
    path.write_text("<p>Around.</p>" + "<div>" * depth + "The innermost text." + "</div>" * depth)
    return path


def test_what_can_be_read_is_read_whole_and_the_rest_is_refused(tmp_path: Path) -> None:
    """Nothing is left out silently, up to the very limit."""
    document = parse(_nested(tmp_path, HTML_DEPTH_MAX), "text/html", ParseLimits())
    assert "The innermost text." in document.text
    with pytest.raises(NestedTooDeeply):
        parse(_nested(tmp_path, HTML_DEPTH_MAX + 1), "text/html", ParseLimits())
