"""The drawing on the manual's title page."""

from __future__ import annotations

from math import cos, radians, sin
from typing import Any

from reportlab.graphics.shapes import Circle, Drawing, Line
from reportlab.lib.colors import HexColor

_BLUE = HexColor("#1f4e79")
_BUCKETS = 36
_ARMS = 8


def water_wheel(size_pt: float) -> Any:
    """A water wheel seen from the side, `size_pt` points wide, with the buckets of the M7."""
    drawing = Drawing(size_pt, size_pt)
    middle = size_pt / 2

    def spoke(inner: float, outer: float, turn: float, lean: float, width: float) -> None:
        start, end = radians(turn), radians(turn + lean)
        x, y = middle + inner * middle * cos(start), middle + inner * middle * sin(start)
        drawing.add(
            Line(
                x,
                y,
                middle + outer * middle * cos(end),
                middle + outer * middle * sin(end),
                strokeColor=_BLUE,
                strokeWidth=width,
            )
        )

    for arm in range(_ARMS):
        spoke(0.08, 0.76, arm * 360 / _ARMS, 0, 3)
    for bucket in range(_BUCKETS):
        spoke(0.76, 0.98, bucket * 360 / _BUCKETS, 9, 1.6)
    for radius, width in ((0.08, 4), (0.76, 2.5), (0.87, 1)):
        drawing.add(
            Circle(middle, middle, radius * middle, fillColor=None, strokeColor=_BLUE, strokeWidth=width),
        )
    return drawing
