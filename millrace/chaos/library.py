"""What the clients share: the documents they write, as far as the clients themselves know."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from millrace.chaos.history import Json

TENANTS = 3
DOCUMENTS_PER_TENANT = 20
"""Few enough that clients meet: edits, deletions and reads of one document race each other."""
LARGE_DOCUMENTS_PER_TENANT = 1
PARAGRAPHS_MAX = 8
LARGE_PARAGRAPHS = 700
"""At four to a chunk some two hundred chunks: several batches in every stage."""


@dataclass(frozen=True, slots=True)
class Written:
    """A write that was acknowledged."""

    revision: int
    position: str
    versions: tuple[int, ...] = ()
    """Of the paragraphs; none for a deletion and for what cannot be parsed."""


@dataclass(slots=True)
class Document:
    """A document: which version was given out last, and what is known of it."""

    tenant: str
    tenant_number: int
    number: int
    versions: tuple[int, ...] = ()
    """Of its paragraphs in the newest version given out."""
    newest: int = 0
    acknowledged: list[Written] = field(default_factory=list)
    large: bool = False
    """Whether it has hundreds of chunks."""
    dirty: bool = False
    """Whether it was written, or may have been, since it was last seen settled."""
    doubtful: bool = False
    """Whether there was a write of which nobody knows."""

    @property
    def document_id(self) -> str:
        """The id that the gateway knows."""
        return f"doc-{self.number}"

    def next_version(self, rng: random.Random) -> tuple[int, tuple[int, ...]]:
        """A new version's number and paragraphs: all of them new, or one of them."""
        self.newest += 1
        if self.versions and rng.random() < 0.4:
            changed = rng.randrange(len(self.versions))
            versions = tuple(
                self.newest if number == changed else version for number, version in enumerate(self.versions)
            )
        else:
            count = LARGE_PARAGRAPHS if self.large else rng.randint(1, PARAGRAPHS_MAX)
            versions = (self.newest,) * count
        self.versions = versions
        return self.newest, versions

    def acknowledge(self, told: Json | None, versions: Sequence[int] = ()) -> None:
        """Remember an acknowledgement, if there was one."""
        if told:
            self.acknowledged.append(Written(told["revision"], told["position"], tuple(versions)))
            del self.acknowledged[:-8]

    @property
    def last(self) -> Written | None:
        """The newest acknowledged write."""
        return max(self.acknowledged, key=lambda written: written.revision, default=None)


class Library:
    """All documents of all tenants."""

    def __init__(self, seed: int) -> None:
        self._documents = [
            Document(f"chaos-{seed}-{tenant}", tenant, number, large=number < LARGE_DOCUMENTS_PER_TENANT)
            for tenant in range(TENANTS)
            for number in range(DOCUMENTS_PER_TENANT)
        ]
        self._made = DOCUMENTS_PER_TENANT

    def __iter__(self) -> Iterator[Document]:
        return iter(self._documents)

    def retire(self, document: Document) -> None:
        """Put a new document in the place of one with a write of which nobody knows: it proves less from then on."""
        self._made += 1
        place = self._documents.index(document)
        self._documents[place] = Document(document.tenant, document.tenant_number, self._made, large=document.large)

    def any(self, rng: random.Random) -> Document:
        """One of all; the large ones seldom."""
        document = rng.choice(self._documents)
        return document if not document.large or rng.random() < 0.3 else self.any(rng)

    def written(self, rng: random.Random) -> Document | None:
        """One that was acknowledged at least once; None if the choice falls on another one."""
        document = self.any(rng)
        return document if document.acknowledged else None
