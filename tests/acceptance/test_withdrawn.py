"""What a conversation quotes of a document is withdrawn with the document."""

import httpx

from millrace.client import Gateway
from tests.db.conftest import pool

__all__ = ["pool"]

SECRET = "The valve of the Halden mill opens to the left at nine bar."
QUESTION = "Which way does the valve of the Halden mill open?"


async def test_a_deletion_takes_its_quotes_out_of_conversations(
    client: Gateway, http: httpx.AsyncClient, tenant: str
) -> None:
    accepted = await client.add_text(f"# Valves\n\n{SECRET}", document_id="d", media_type="text/markdown")
    await client.add_text("# Mills\n\nThe Halden mill has nine stones of granite.", document_id="other")
    asked = {"message": QUESTION, "conversation_id": "c"}
    answer = (await http.post("/v1/chat", json=asked, headers=_after(accepted["position"]))).json()
    assert SECRET in answer["answer"]
    assert any(citation["quote"] == SECRET for citation in answer["citations"])

    deleted = (await http.delete("/v1/documents/d")).json()
    conversation = await http.get("/v1/conversations/c", headers=_after(deleted["position"]))
    assert SECRET not in conversation.text
    [message] = [each for each in conversation.json()["messages"] if each["role"] == "assistant"]
    assert "[withdrawn]" in message["text"]
    for citation in message["citations"]:
        assert citation["withdrawn"] == (citation["document_id"] == "d")
        assert bool(citation["quote"]) != citation["withdrawn"]

    # Nor does it come back in an answer to the same question.
    again = (await http.post("/v1/chat", json={"message": QUESTION}, headers=_after(deleted["position"]))).json()
    assert SECRET not in again["answer"]


def _after(position: str) -> dict[str, str]:
    return {"X-Millrace-Position": position}
