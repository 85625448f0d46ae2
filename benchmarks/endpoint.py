"""wordllama behind an endpoint that speaks OpenAI's embeddings API, for whoever takes no embedder in process.

`python -m benchmarks.endpoint --port N`: one process on 127.0.0.1. Vectors come as base64 of little-endian float32
where the client asks for that (OpenAI's own client does), else as JSON numbers straight from numpy.
"""

import argparse
import base64
from typing import Any

import numpy as np
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.peers.door import DIMENSIONS, WordLlama, load_tokenizer

MODEL = "wordllama-l2-supercat-256"


def application() -> Starlette:
    """POST /v1/embeddings, GET /v1/models."""
    wordllama = WordLlama()
    tokenizer = load_tokenizer()

    async def embeddings(request: Request) -> Response:
        asked = orjson.loads(await request.body())
        return _json(await run_in_threadpool(answer, asked))

    def answer(asked: dict[str, Any]) -> dict[str, Any]:
        inputs = asked["input"]
        if isinstance(inputs, str) or (inputs and isinstance(inputs[0], int)):
            inputs = [inputs]
        # Some clients send tokens: they can only be this model's own.
        texts = [text if isinstance(text, str) else tokenizer.decode(text) for text in inputs]
        vectors = np.ascontiguousarray(wordllama.embed(texts), dtype="<f4")
        as_base64 = asked.get("encoding_format") == "base64"
        return {
            "object": "list",
            "model": asked.get("model", MODEL),
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": base64.b64encode(vector).decode() if as_base64 else vector,
                }
                for index, vector in enumerate(vectors)
            ],
            "usage": {"prompt_tokens": 0, "total_tokens": 0},
        }

    async def models(_: Request) -> Response:
        return _json({"object": "list", "data": [{"id": MODEL, "object": "model", "dimensions": DIMENSIONS}]})

    return Starlette(
        routes=[
            Route("/v1/embeddings", embeddings, methods=["POST"]),
            Route("/v1/models", models),
        ]
    )


def _json(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvicorn.run(application(), host="127.0.0.1", port=parser.parse_args().port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
