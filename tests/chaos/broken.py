"""Services that are each wrong in one way, and what the checker says of them."""

from tests.chaos.model import Entry, Json, Key, Row, Service


class Forgetful(Service):
    """Says that it has indexed what it has not."""

    def publish(self, entry: Entry, revision: int, row: Row) -> None:
        if revision not in {2, 5}:
            super().publish(entry, revision, row)


class Losing(Service):
    """Acknowledges what it does not keep."""

    def write(self, entry: Entry) -> int:
        if len(self.log) != 4:
            return super().write(entry)
        self.log.append(entry)
        self.rows[entry.key].state = "indexed"
        return len(self.log)

    def apply(self) -> None:
        if self.applied == 4:
            self.applied += 1
        else:
            super().apply()


class Unlettered(Service):
    """Fails without a dead letter."""

    def add_letter(self, entry: Entry, revision: int) -> None:
        """Nothing."""


class Holey(Service):
    """Leaves a chunk out."""

    def chunks(self, key: Key, versions: tuple[int, ...]) -> list[Json]:
        return super().chunks(key, versions)[1:]


class Abridging(Service):
    """Leaves a chunk out, and counts the others."""

    def chunks(self, key: Key, versions: tuple[int, ...]) -> list[Json]:
        return super().chunks(key, versions)[:1]


class Rowless(Service):
    """Loses a row of what is visible."""

    def publish(self, entry: Entry, revision: int, row: Row) -> None:
        super().publish(entry, revision, row)
        self.stored[entry.key, revision] -= 1


class Empty(Service):
    """Loses all rows of what is visible."""

    def publish(self, entry: Entry, revision: int, row: Row) -> None:
        super().publish(entry, revision, row)
        if revision == 5:
            del self.stored[entry.key, revision]


class Speechless(Service):
    """Keeps no answers."""

    def conversation(self, tenant: str, conversation_id: str) -> Json:
        told = super().conversation(tenant, conversation_id)
        return told | {"messages": [each for each in told["messages"] if each["role"] == "user"]}


class Undecided(Service):
    """Writes a letter about what it has indexed."""

    def publish(self, entry: Entry, revision: int, row: Row) -> None:
        super().publish(entry, revision, row)
        self.add_letter(entry, revision)


class Cancelling(Service):
    """Calls cancelled what everybody sees."""

    def end(self, entry: Entry, revision: int, state: str, error: str | None = None) -> None:
        super().end(entry, revision, state, error)
        if state == "indexed":
            super().end(entry, revision, "cancelled", error)


class Arbitrary(Service):
    """Cancels what nobody asked it to cancel."""

    def publish(self, entry: Entry, revision: int, row: Row) -> None:
        """Nothing."""

    def end(self, entry: Entry, revision: int, state: str, error: str | None = None) -> None:
        super().end(entry, revision, "cancelled" if state == "indexed" else state, error)


class Deleting(Service):
    """Deletes what it was given."""

    def publish(self, entry: Entry, revision: int, row: Row) -> None:
        """Nothing."""

    def end(self, entry: Entry, revision: int, state: str, error: str | None = None) -> None:
        super().end(entry, revision, "deleted", error)


class Keeping(Service):
    """Fails to delete."""

    def end(self, entry: Entry, revision: int, state: str, error: str | None = None) -> None:
        super().end(entry, revision, "failed" if state == "deleted" else state, error)


class Stammering(Service):
    """Finds chunks twice."""

    def hits(self, tenant: str, query: str) -> list[Json]:
        return 2 * super().hits(tenant, query)


class Listing(Service):
    """Lists documents twice."""

    def listing(self, tenant: str) -> Json:
        return {"documents": 2 * super().listing(tenant)["documents"]}


class Overlapping(Service):
    """Has chunks twice."""

    def chunks(self, key: Key, versions: tuple[int, ...]) -> list[Json]:
        return [{**each, "ordinal": place} for place, each in enumerate(2 * super().chunks(key, versions))]


class Twofold(Service):
    """Stores rows twice."""

    def inventory(self) -> Json:
        told = super().inventory()
        return told | {"rows": [{**each, "rows": 2 * each["rows"]} for each in told["rows"]]}


class Repeating(Service):
    """Keeps messages twice."""

    def conversation(self, tenant: str, conversation_id: str) -> Json:
        told = super().conversation(tenant, conversation_id)
        return told | {"messages": 2 * told["messages"]}


class Talkative(Service):
    """Answers one question again."""

    def conversation(self, tenant: str, conversation_id: str) -> Json:
        told = super().conversation(tenant, conversation_id)
        again = {**told["messages"][1], "message_id": "another"}
        return told | {"messages": [*told["messages"], again]}


class Fickle(Service):
    """Keeps another answer than it told."""

    def conversation(self, tenant: str, conversation_id: str) -> Json:
        told = super().conversation(tenant, conversation_id)
        return told | {"messages": [{**each, "text": f"{each['text']} Or not."} for each in told["messages"]]}


class Resubmitting(Service):
    """Takes a submission for two."""

    def write(self, entry: Entry) -> int:
        revision = super().write(entry)
        super().write(entry)
        return revision


class Untidy(Service):
    """Leaves the rows of old revisions behind."""

    def remove(self, key: Key, row: Row) -> None:
        stored = dict(self.stored)
        super().remove(key, row)
        self.stored = stored


class Hoarding(Service):
    """Leaves the blobs of old revisions behind."""

    def forget_blob(self, key: Key, revision: int) -> None:
        """Nothing."""


class Mixing(Service):
    """Finds chunks of the revision before, too."""

    def hits(self, tenant: str, query: str) -> list[Json]:
        hits = super().hits(tenant, query)
        return hits + [{**hit, "revision": hit["revision"] - 1, "ordinal": 7} for hit in hits if hit["revision"] > 4]


class Blending(Service):
    """Finds old chunks as if they were new."""

    def hits(self, tenant: str, query: str) -> list[Json]:
        hits = super().hits(tenant, query)
        older = [
            {**hit, "revision": hit["revision"], "ordinal": 7 + place, "text": old["text"]}
            for hit in hits
            if hit["revision"] == 5
            for place, old in enumerate(self.chunks((tenant, hit["document_id"]), (1,) * 4))
        ]
        return hits + older


class Patchwork(Service):
    """Gives one chunk of another content."""

    def chunks(self, key: Key, versions: tuple[int, ...]) -> list[Json]:
        return super().chunks(key, versions and (1, *versions[1:-1], max(versions) + 1))


class Confusing(Service):
    """Takes one document's chunks for another one's."""

    def hits(self, tenant: str, query: str) -> list[Json]:
        return [{**hit, "document_id": "doc-1", "revision": 2} for hit in super().hits(tenant, query)]


class Ambiguous(Service):
    """Names two visible revisions in one answer."""

    def document(self, key: Key) -> Json:
        told = super().document(key)
        return told | {"visible_revision": 1} if told["found"] else told


class Hasty(Service):
    """Shows what is behind the newest revision that it knows."""

    def status(self, key: Key) -> Json:
        told = super().status(key)
        return told | {"visible_revision": told["revision"] + 1} if told["found"] else told


class Shifted(Service):
    """Counts characters wrongly."""

    def chunks(self, key: Key, versions: tuple[int, ...]) -> list[Json]:
        return [{**each, "start": each["start"] + 1} for each in super().chunks(key, versions)]


class Corrupting(Service):
    """Has a content that nobody wrote."""

    def text(self, key: Key, versions: tuple[int, ...]) -> str:
        return super().text(key, versions and (versions[0] + 1, *versions[1:]))


class Unsteady(Service):
    """Has another text each time."""

    def content(self, key: Key) -> Json:
        told = super().content(key)
        self.letter_case = not getattr(self, "letter_case", False)
        return told | {"text": told["text"].replace(" the ", " ") + " ." * self.letter_case} if told["found"] else told


class Impatient(Service):
    """Does not wait for the position that a read asks for."""

    def pass_position(self, revision: int) -> None:
        """Nothing."""


class Lagging(Impatient):
    """Nor does it know of a document before it has worked on it."""

    def write(self, entry: Entry) -> int:
        self.log.append(entry)
        return len(self.log)

    def apply(self) -> None:
        entry = self.log[self.applied]
        row = self.rows.setdefault(entry.key, Row())
        row.newest = self.applied + 1
        super().apply()


class Blind(Service):
    """Does not find what is there."""

    def hits(self, tenant: str, query: str) -> list[Json]:
        return []


class Undead(Service):
    """Says that it has deleted what it still shows."""

    def remove(self, key: Key, row: Row) -> None:
        """Nothing."""


class Relapsing(Service):
    """Shows an old revision long after the new one."""

    def hits(self, tenant: str, query: str) -> list[Json]:
        return [{**hit, "revision": 1} if hit["revision"] == 5 else hit for hit in super().hits(tenant, query)]


class Vanishing(Service):
    """Loses sight of a document later on."""

    def content(self, key: Key) -> Json:
        return {"found": False} if self.applied > 6 else super().content(key)


class Open(Service):
    """Shows everybody everything."""

    def hits(self, tenant: str, query: str) -> list[Json]:
        return [hit for other in {key[0] for key in self.rows} for hit in super(Open, self).hits(other, query)]


class Stuck(Service):
    """Never ends a thing."""

    def end(self, entry: Entry, revision: int, state: str, error: str | None = None) -> None:
        """Nothing."""


class Misquoting(Service):
    """Quotes what does not stand there."""

    def ask(self, tenant: str, conversation_id: str, question: str) -> Json:
        told = super().ask(tenant, conversation_id, question)
        for citation in told["citations"]:
            citation["quote"] = citation["quote"].replace("e", "a")
        return told


class Jumbling(Service):
    """Sends the pieces of an answer out of order."""

    def ask(self, tenant: str, conversation_id: str, question: str) -> Json:
        told = super().ask(tenant, conversation_id, question)
        return told | {"deltas": told["deltas"][::-1]}


BROKEN: list[tuple[str, str, type[Service]]] = [
    ("lost", "and nothing is visible", Forgetful),
    ("lost", "is neither visible nor failed", Forgetful),
    ("lost", "settled at 1, before 5", Losing),
    ("lost", "without a letter", Unlettered),
    ("lost", "missing between others", Holey),
    ("lost", "2 of 4 paragraphs", Abridging),
    ("lost", "has 1 rows of 2", Rowless),
    ("lost", "has no rows", Empty),
    ("lost", "is not kept", Speechless),
    ("lost", "nobody asked for it", Arbitrary),
    ("lost", "was submitted at 1, and is deleted", Deleting),
    ("lost", "was deleted at 7, and is failed", Keeping),
    ("lost", "s after 5 was visible", Vanishing),
    ("both", "failed and indexed", Undecided),
    ("both", "cancelled and indexed", Cancelling),
    ("doubled", "stands twice in one answer", Stammering),
    ("doubled", "stands twice in one list", Listing),
    ("doubled", "one place", Overlapping),
    ("doubled", "has 4 rows of 2 chunks", Twofold),
    ("doubled", "a message twice", Repeating),
    ("doubled", "more answers than questions", Talkative),
    ("doubled", "told in two ways", Fickle),
    ("doubled", "beside the acknowledged ones", Resubmitting),
    ("orphaned", "rows of revision 1", Untidy),
    ("orphaned", "blob", Hoarding),
    ("mixed", "one answer has revisions [4, 5]", Mixing),
    ("mixed", "and another version of it", Blending),
    ("mixed", "what nobody submitted as it", Patchwork),
    ("mixed", "another document's text", Confusing),
    ("mixed", "two revisions in one answer", Ambiguous),
    ("mixed", "behind its newest", Hasty),
    ("mixed", "is not its content there", Shifted),
    ("mixed", "none that was submitted", Corrupting),
    ("mixed", "has two texts", Unsteady),
    ("stale", "shows it as received", Impatient),
    ("stale", "shows nothing", Impatient),
    ("stale", "asked for revision 5 and shows 1", Impatient),
    ("stale", "shows no document", Lagging),
    ("stale", "shows 1 as the newest", Lagging),
    ("stale", "did not find", Blind),
    ("stale", "s after 5 was visible", Relapsing),
    ("resurrected", "which the deletion 7 had ended", Undead),
    ("resurrected", "is deleted at 7, and 3 is visible", Undead),
    ("resurrected", "it was deleted at 7", Undead),
    ("foreign", "was shown", Open),
    ("stuck", "received", Stuck),
    ("citation", "is not its content there", Misquoting),
    ("stream", "came behind piece", Jumbling),
]
