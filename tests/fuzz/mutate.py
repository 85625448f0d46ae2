"""Damage: what happens to files and events on their way, and what somebody does to them who looks for a weakness."""

import io
import zipfile
from collections.abc import Sequence

from hypothesis import strategies as st

TELLING = (
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"-1",
    b"99999999999",
    b"<",
    b"&",
    b"{",
    b"[" * 300,
)
"""Bytes that mean something to somebody: ends, limits, brackets."""


@st.composite
def damaged(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds after a few accidents; parts of a ZIP archive have theirs inside."""
    seed = draw(st.sampled_from(seeds))
    if seed.startswith(b"PK") and draw(st.booleans()):
        return _inside(seed, draw)
    return _accidents(seed, seeds, draw)


def _accidents(data: bytes, others: Sequence[bytes], draw: st.DrawFn) -> bytes:
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 64)))
        match draw(st.sampled_from(("flip", "put", "cut", "repeat", "truncate", "splice"))):
            case "flip" if at < len(data):
                data = data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]
            case "put":
                data = data[:at] + draw(st.sampled_from(TELLING) | st.binary(max_size=16)) + data[end:]
            case "cut":
                data = data[:at] + data[end:]
            case "repeat":
                data = data[:at] + data[at:end] * draw(st.integers(2, 200)) + data[end:]
            case "truncate":
                data = data[:at]
            case "splice":
                other = draw(st.sampled_from(others))
                data = data[:at] + other[draw(st.integers(0, len(other))) :]
    return data


def _inside(data: bytes, draw: st.DrawFn) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = draw(st.sampled_from(sorted(parts)))
    parts[name] = _accidents(parts[name], list(parts.values()), draw)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for each, content in parts.items():
            archive.writestr(each, content)
    return out.getvalue()
