"""The history: what each client asked, when, and what it was told. The checker knows nothing else.

A line of JSON for each operation, in the order in which they ended, and for each note. As in Jepsen, an outcome is
``ok`` (it was done), ``refused`` (it was surely not done) or ``unknown`` (it may have been done, or may be at any later
time).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson

Json = dict[str, Any]


class Outcome(StrEnum):
    """What the client knows of an operation's effect; a read without an answer is ``unknown``."""

    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Operation:
    """An operation under way: ``unknown`` until its client was told more."""

    def __init__(self, client: str, kind: str, tenant: str, document_id: str | None, arguments: Json) -> None:
        self.client = client
        self.kind = kind
        self.tenant = tenant
        self.document_id = document_id
        self.arguments = arguments
        self.outcome = Outcome.UNKNOWN
        self.response: Json = {}
        self.start = time.monotonic()

    def ok(self, **response: Any) -> None:
        """It was done, and this was the answer."""
        self.outcome, self.response = Outcome.OK, response

    def refused(self, **response: Any) -> None:
        """It was surely not done, for this reason."""
        self.outcome, self.response = Outcome.REFUSED, response

    def unknown(self, **response: Any) -> None:
        """Nobody can say whether it was done."""
        self.outcome, self.response = Outcome.UNKNOWN, response


class History:
    """Writes a history; each line is in the file once its operation has ended. Times are monotonic, in seconds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab")
        self._index = path.read_bytes().count(b"\n")

    @contextmanager
    def operation(
        self, client: str, kind: str, tenant: str, document_id: str | None = None, **arguments: Any
    ) -> Iterator[Operation]:
        """Record an operation from its beginning to its end, also where that is an exception or a cancellation."""
        operation = Operation(client, kind, tenant, document_id, arguments)
        try:
            yield operation
        finally:
            self._write({**vars(operation), "end": time.monotonic()})

    def note(self, kind: str, /, **data: Any) -> None:
        """Record something that no client did: a fault, the beginning of a round."""
        self._write({"note": kind, "at": time.monotonic(), **data})

    def close(self) -> None:
        """No more is written."""
        self._file.close()

    def _write(self, line: Json) -> None:
        self._file.write(orjson.dumps({"index": self._index, **line}, option=orjson.OPT_APPEND_NEWLINE))
        self._file.flush()
        self._index += 1


def read(path: Path) -> Iterator[Json]:
    """The lines of a history; the last one is left out where it was cut off."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield orjson.loads(line)
