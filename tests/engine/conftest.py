"""A real HTTP server that speaks as much of OpenAI's API as the engine asks of it."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from engine.answer import Passage

START_DEADLINE_S = 10.0


@dataclass
class FakeOpenAI:
    """What the server was asked, and what it is to answer next."""

    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    answers: list[Response] = field(default_factory=list)
    """Taken first; after them the server answers properly."""
    dimensions: int = 8
    stream: list[str] = field(default_factory=list)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/v1/embeddings")
        async def embeddings(request: Request) -> Any:
            if instead := await self._note(request):
                return instead
            texts = self.requests[-1]["input"]
            data = [{"index": index, "embedding": self.vector(text)} for index, text in enumerate(texts)]
            return {"data": data[::-1]}

        @app.post("/v1/chat/completions")
        async def completions(request: Request) -> Any:
            if instead := await self._note(request):
                return instead
            return StreamingResponse(iter(self.stream), media_type="text/event-stream")

        return app

    def vector(self, text: str) -> list[float]:
        return [
            float(len(text)),
            *(float(ord(char)) for char in text[: self.dimensions - 1].ljust(self.dimensions - 1)),
        ]

    async def _note(self, request: Request) -> Response | None:
        self.requests.append(await request.json())
        self.keys.append(request.headers.get("Authorization"))
        return self.answers.pop(0) if self.answers else None


@pytest.fixture
def openai() -> Iterator[FakeOpenAI]:
    """The server, on a free port."""
    fake = FakeOpenAI()
    listening = socket.create_server(("127.0.0.1", 0))
    fake.url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    server = uvicorn.Server(uvicorn.Config(fake.app(), log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    deadline = time.monotonic() + START_DEADLINE_S
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.started
    yield fake
    server.should_exit = True
    thread.join()


def passage(text: str, start: int = 0, **changes: Any) -> Passage:
    """A passage of one document."""
    known = {
        "document_id": "manual",
        "revision": 1,
        "title": "Manual",
        "filename": "manual.pdf",
        "page": 3,
        "heading_path": ("Valves",),
    }
    return Passage(**{**known, **changes}, start=start, end=start + len(text), text=text)
