"""Record headers whose names are no text: read like all others, with U+FFFD for what is not UTF-8.

The broker takes such names, for to it they are bytes. aiokafka raises from the middle of its fetcher instead, again and
again: one record, which anybody who may produce can write, would stop its partition for good. aiokafka has no place to
say how names are decoded, so what its fetcher unpacks batches with is replaced by something that falls back.
"""

import struct
from collections.abc import Iterator
from itertools import islice
from typing import Any, SupportsIndex

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

BATCH_HEAD = struct.Struct(">qi")
"""Every batch begins with its first offset and the length of what follows, in bytes."""


class _AnyText(bytearray):
    """Bytes whose slices decode, whatever they hold."""

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        part = super().__getitem__(index)
        return _AnyText(part) if isinstance(part, bytearray) else part

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, "replace")


class _Batch:
    """A batch as aiokafka unpacks it, and once a name in it is no text, more slowly as aiokafka does in Python."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        unpacked = 0
        try:
            for record in self._batch:
                yield record
                unpacked += 1
        except UnicodeDecodeError:
            patient = _DefaultRecordBatchPy(self._data)
            patient._maybe_uncompress()
            patient._buffer = _AnyText(patient._buffer)
            yield from islice(patient, unpacked, None)


class _Records:
    """The batches of one answer to a fetch."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._records = MemoryRecords(data)
        self._start = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)

    def next_batch(self) -> _Batch:
        batch = self._records.next_batch()
        _, length = BATCH_HEAD.unpack_from(self._data, self._start)
        end = self._start + BATCH_HEAD.size + length
        data, self._start = self._data[self._start : end], end
        return _Batch(batch, data)


def take_any_header_name() -> None:
    """From now on, let every consumer of this process read headers whose names are no text."""
    fetcher.MemoryRecords = _Records
