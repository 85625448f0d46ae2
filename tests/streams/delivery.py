"""A worker of one stage that notes what it handles, and hangs on one record where it is told to: for test_app."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from db.blobs import Blobs, BlobSettings
from db.pool import DatabaseSettings, connect
from schemas.broker import BrokerSettings
from schemas.events import Failure
from schemas.producer import Producer
from schemas.topics import Topic
from streams.app import create_app
from streams.outbox import Outbox
from streams.record import Record
from streams.settings import WorkerSettings
from streams.stage import Stage

PARTITIONS = 2


def topic_named(name: str) -> Topic:
    """A topic of a test's own."""
    return Topic(name, "Only for a test.", "any", (), PARTITIONS, 60_000)


class Noting(Stage):
    """Appends the value of each record to a file, but hangs on one value."""

    name = "noting"

    def __init__(self, outbox: Outbox, topic: Topic, notes: Path, hang_on: str) -> None:
        super().__init__(outbox, 1)
        self.topic = topic  # type: ignore[misc]
        self._notes = notes
        self._hang_on = hang_on

    @property
    def group(self) -> str:
        """A group of its own."""
        return f"group-of-{self.topic.name}"

    async def handle(self, records: Sequence[Record]) -> None:
        """Note them."""
        for record in records:
            value = (record.value or b"").decode()
            with self._notes.open("a") as notes:
                notes.write(f"{value}\n")
            if value == self._hang_on:
                await asyncio.Event().wait()

    async def give_up(self, record: Record, failure: Failure) -> None:
        """Nothing here fails."""
        raise AssertionError(failure.message)


async def main(topic_name: str, notes: str, hang_on: str) -> None:
    """Run until killed."""
    pool = await connect(DatabaseSettings())
    broker = BrokerSettings()
    kafka = Producer(broker)
    await kafka.start()
    stage = Noting(Outbox(kafka, pool, Blobs(BlobSettings())), topic_named(topic_name), Path(notes), hang_on)
    app = create_app(stage, 0, broker, WorkerSettings())
    await app.start()
    await app.wait_until_stopped()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
