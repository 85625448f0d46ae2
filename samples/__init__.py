"""The sample corpus: documents about one imaginary mill, and makers for those too big or too binary to commit."""

from pathlib import Path

SAMPLES = Path(__file__).parent
FILES = SAMPLES / "files"
SOURCES = SAMPLES / "sources"
