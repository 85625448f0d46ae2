"""The door that every peer comes in by: the corpus, the embedder, the stopwatch and the one line of JSON.

Runs in each peer's own environment, so it needs only numpy, orjson, safetensors, tokenizers, wordllama and psycopg,
and nothing of Millrace. ``python <peer>.py ingest|search ...`` is what `main` reads; README.md has the arguments.
"""

import argparse
import asyncio
import hashlib
import importlib.util
import multiprocessing
import os
import re
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import numpy as np
import orjson
import psycopg
from numpy.typing import NDArray
from safetensors import safe_open
from tokenizers import Tokenizer
from tokenizers.normalizers import Replace

DIMENSIONS = 256
CHUNK_TOKENS = 256
OVERLAP_TOKENS = 32
HITS = 10
IN_PROCESS = "inprocess"
WARM_UP_S = 2.0

HNSW_M = 16
HNSW_EF_CONSTRUCTION = 64
HNSW_EF_SEARCH = 40
"""pgvector's defaults, and those of every peer that has defaults of its own."""


@dataclass(frozen=True, slots=True)
class Document:
    """A line of documents.jsonl."""

    id: str
    title: str
    text: str
    collection: str


@dataclass(frozen=True, slots=True)
class Question:
    """A line of questions.jsonl."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Job:
    """What the command line asks for."""

    corpus: Path
    dsn: str
    embedder: str
    """``inprocess``, or the base URL of an endpoint that speaks OpenAI's embeddings API, ending in /v1."""
    collection: str | None = None
    """Search only what is in it."""

    def documents(self) -> list[Document]:
        """All of the corpus, in memory."""
        with (self.corpus / "documents.jsonl").open("rb") as lines:
            return [Document(**orjson.loads(line)) for line in lines]

    def questions(self) -> list[Question]:
        """All of them."""
        with (self.corpus / "questions.jsonl").open("rb") as lines:
            return [Question(**orjson.loads(line)) for line in lines]

    def dsn_for(self, driver: str) -> str:
        """The DSN as SQLAlchemy writes it, such as ``postgresql+asyncpg://``."""
        return self.dsn.replace("postgresql://", f"postgresql+{driver}://", 1)

    @property
    def database(self) -> str:
        """The database's name."""
        return urlsplit(self.dsn).path.removeprefix("/")


@dataclass(slots=True)
class Ingested:
    """What an ingest tells. Times are seconds from its start."""

    searchable_s: float
    indexed_s: float
    settings: dict[str, Any] = field(default_factory=dict)


class Searcher(Protocol):
    """A peer, open for questions."""

    async def search(self, question: str) -> Sequence[str]:
        """The texts of the best `HITS` chunks, as the peer's documentation would have one ask: hybrid where it can."""

    async def nearest(self, question: str) -> Sequence[str]:
        """The same by the vector index alone."""


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def __call__(self) -> float:
        """How many."""
        return time.perf_counter() - self._start


class WordLlama:
    """wordllama's static vectors: a text is the mean of its tokens' vectors.

    As Millrace's own, so that all have the same embedder: the package's own code pads every batch to its longest text.
    """

    _TEXTS_AT_ONCE = 64

    def __init__(self) -> None:
        with safe_open(wordllama_folder() / "weights" / "l2_supercat_256.safetensors", framework="np") as weights:
            self._weights: NDArray[np.float16] = weights.get_tensor("embedding.weight")
        self._tokenizer = load_tokenizer()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of shape ``(len(texts), DIMENSIONS)``."""
        means = np.zeros((len(texts), DIMENSIONS), np.float32)
        for start in range(0, len(texts), self._TEXTS_AT_ONCE):
            batch = [text or " " for text in texts[start : start + self._TEXTS_AT_ONCE]]
            for row, encoding in enumerate(self._tokenizer.encode_batch_fast(batch, add_special_tokens=False), start):
                means[row] = self._weights[np.array(encoding.ids, np.int32)].mean(axis=0, dtype=np.float32)
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        return means / np.maximum(lengths, np.finfo(np.float32).tiny)


def wordllama_folder() -> Path:
    """Where the wordllama package keeps its weights and tokenizer."""
    spec = importlib.util.find_spec("wordllama")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def load_tokenizer() -> Tokenizer:
    """The tokenizer of wordllama's vectors, without padding or truncation."""
    tokenizer = Tokenizer.from_file(str(wordllama_folder() / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


# A splitter asks again and again for the length of the same words, so they are kept: the tokenizer itself would be most
# of what a peer's ingest takes. No token of the vocabulary has a space anywhere but in front.
_WORDS = re.compile(r" *[^ \n]{1,64}| *\n+| +")


def count_tokens(text: str) -> int:
    """The number of wordllama's tokens in a text."""
    return sum(map(_count_word, _WORDS.findall(f" {text}"))) if text else 0


_word_tokenizer = load_tokenizer()
_word_tokenizer.normalizer = Replace(" ", "▁")


@lru_cache(maxsize=65_536)
def _count_word(word: str) -> int:
    return len(_word_tokenizer.encode(word, add_special_tokens=False).ids)


def run_workers(work: Callable[[Sequence[Document]], None], documents: Sequence[Document], workers: int = 2) -> None:
    """Share the documents out to processes, each with what this one has loaded, and wait for them.

    The shares are every ``workers``-th document, since sizes differ much. Raises RuntimeError when one fails.
    """
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # There are as many processes as cores.
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=(documents[share::workers],)) for share in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError("A worker failed; it said why on stderr.")


def batches(documents: Sequence[Document], characters: int) -> Iterator[Sequence[Document]]:
    """The documents in order, in lists of about so many characters of text: sizes differ up to a hundredfold."""
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.text)
        if size >= characters:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def main(
    ingest: Callable[[Job], Ingested],
    open_searcher: Callable[[Job], AbstractAsyncContextManager[Searcher]],
    *,
    table: str,
    text: str,
    embedding: str,
    collection: str,
    packages: Sequence[str],
) -> None:
    """Do what the command line says, and print one JSON line.

    ``table`` is where the peer keeps its chunks, ``text`` and ``embedding`` are columns of it, and ``collection`` is an
    SQL expression for a chunk's collection: the exact scan needs them.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["ingest", "search"])
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--embedder", default=IN_PROCESS)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--filter", metavar="COLLECTION")
    arguments = parser.parse_args()
    job = Job(arguments.corpus, arguments.dsn, arguments.embedder, arguments.filter)
    with _stdout_for_one_line() as write:
        if arguments.verb == "ingest":
            documents = job.documents()
            about = {"documents": len(documents), "characters": sum(len(document.text) for document in documents)}
            del documents
            told = ingest(job)
            with psycopg.connect(job.dsn) as connection:
                (chunks,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,)
                (held,) = connection.execute(f"SELECT sum(length({text})) FROM {table}").fetchone() or (0,)
                indexes = [
                    row[0] for row in connection.execute("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'")
                ]
            result: dict[str, Any] = {
                "chunks": chunks,
                **about,
                "searchable_s": told.searchable_s,
                "indexed_s": told.indexed_s,
                "details": {
                    "versions": _versions(packages),
                    "settings": told.settings,
                    "characters_in_chunks": int(held or 0),
                    "indexes": indexes,
                    "client_cpu_s": _cpu_s(),
                },
            }
        else:
            where = "" if job.collection is None else f"WHERE {collection} = %(collection)s"
            exact = (
                f"SELECT {text} FROM {table} {where} ORDER BY {embedding}::vector <=> %(vector)s::vector LIMIT {HITS}"
            )
            result = asyncio.run(_measure_search(job, open_searcher, exact, arguments.clients, arguments.seconds))
            result["details"] = {"versions": _versions(packages), "client_cpu_s": _cpu_s()}
        write(orjson.dumps(result))


async def _measure_search(
    job: Job,
    open_searcher: Callable[[Job], AbstractAsyncContextManager[Searcher]],
    exact: str,
    clients: int,
    seconds: float,
) -> dict[str, Any]:
    questions = job.questions()
    _set_for_search(job)
    async with open_searcher(job) as searcher:
        answers = {question.id: [_key(text) for text in await searcher.search(question.text)] for question in questions}
        found = {question.id: await searcher.nearest(question.text) for question in questions}
        await _load(searcher.search, questions, clients, WARM_UP_S)
        latencies_s, took_s = await _load(searcher.search, questions, clients, seconds)
    nearest = await asyncio.to_thread(_exact, job, exact, questions)
    recalls = [
        len(set(found[question.id]) & nearest[question.id]) / len(nearest[question.id])
        for question in questions
        if nearest[question.id]
    ]
    p50, p95, p99 = np.percentile(np.array(latencies_s) * 1e3, [50, 95, 99])
    return {
        "p50_ms": round(float(p50), 3),
        "p95_ms": round(float(p95), 3),
        "p99_ms": round(float(p99), 3),
        "per_s": round(len(latencies_s) / took_s, 2),
        "searches": len(latencies_s),
        "vectors_exact_recall_at_10": round(float(np.mean(recalls)), 4),
        "answers": answers,
    }


def _set_for_search(job: Job) -> None:
    """For all sessions to come. With a filter pgvector's advice is to go on until enough rows pass it."""
    iterative_scan = "off" if job.collection is None else "strict_order"
    with psycopg.connect(job.dsn, autocommit=True) as connection:
        for name, setting in {"hnsw.ef_search": HNSW_EF_SEARCH, "hnsw.iterative_scan": iterative_scan}.items():
            connection.execute(f"ALTER DATABASE {job.database} SET {name} = '{setting}'")


async def _load(
    search: Callable[[str], Awaitable[Sequence[str]]], questions: Sequence[Question], clients: int, seconds: float
) -> tuple[list[float], float]:
    """Every client asks one question after the other. Returns the seconds of each and how long it all took."""
    latencies_s: list[float] = []
    watch = Stopwatch()

    async def client(number: int) -> None:
        turn = number * len(questions) // clients
        while watch() < seconds:
            asked = time.perf_counter()
            await search(questions[turn % len(questions)].text)
            latencies_s.append(time.perf_counter() - asked)
            turn += 1

    await asyncio.gather(*(client(number) for number in range(clients)))
    return latencies_s, watch()


def _exact(job: Job, statement: str, questions: Sequence[Question]) -> Mapping[str, set[str]]:
    vectors = WordLlama().embed([question.text for question in questions])
    nearest = {}
    with psycopg.connect(job.dsn, options="-c enable_indexscan=off") as connection:
        for question, vector in zip(questions, vectors, strict=True):
            given = {"vector": str(vector.tolist()), "collection": job.collection}
            nearest[question.id] = {row[0] for row in connection.execute(statement, given)}
    return nearest


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _versions(packages: Sequence[str]) -> dict[str, str]:
    return {package: version(package) for package in packages}


def _cpu_s() -> float:
    """Of this process and those it started, not of Postgres."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return round(sum(usage.ru_utime + usage.ru_stime for usage in used), 3)


@contextmanager
def _stdout_for_one_line() -> Iterator[Callable[[bytes], object]]:
    """Whatever a framework prints goes to stderr."""
    with os.fdopen(os.dup(1), "wb") as line:
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        yield lambda text: line.write(text + b"\n")
