"""A document's life through the public door: posted, found, asked about, replaced, deleted."""

from pathlib import Path

import httpx

from millrace.client import Gateway

FILES = Path(__file__).parents[2] / "samples" / "files"

FIRST = "# Gate\n\nThe sluice gate opens at 6.40 in the morning.\n\n# Colour\n\nThe door of the wheel house is green.\n"
SECOND = FIRST.replace("6.40 in the morning", "7.15 in the morning")


async def test_a_document_is_found_asked_about_replaced_and_deleted(http: httpx.AsyncClient, client: Gateway) -> None:
    posted = await http.post(
        "/v1/documents", json={"document_id": "gate", "text": FIRST, "media_type": "text/markdown"}
    )
    assert posted.status_code == httpx.codes.ACCEPTED
    accepted = posted.json()
    assert (await http.get(accepted["status_url"])).json()["state"] != "failed"

    found = await client.search("When does the sluice gate open?", position=accepted["position"])
    assert found["hits"][0]["document_id"] == "gate"
    assert "6.40" in found["hits"][0]["text"]

    answer = (await http.post("/v1/chat", json={"message": "When does the sluice gate open?"})).json()
    text = (await http.get("/v1/documents/gate/content", params={"format": "text"})).text
    assert "6.40" in answer["answer"]
    assert answer["citations"]
    for citation in answer["citations"]:
        assert citation["quote"] == text[citation["start"] : citation["end"]]
        assert (citation["document_id"], citation["revision"]) == ("gate", accepted["revision"])

    replaced = await client.add_text(SECOND, document_id="gate", media_type="text/markdown")
    assert replaced["revision"] > accepted["revision"]
    found = await client.search("When does the sluice gate open?", position=replaced["position"])
    assert {hit["revision"] for hit in found["hits"]} == {replaced["revision"]}
    assert "7.15" in found["hits"][0]["text"]

    deleted = await client.delete("gate")
    headers = {"X-Millrace-Position": deleted["position"]}
    assert (await http.get("/v1/documents/gate", headers=headers)).status_code == httpx.codes.NOT_FOUND
    assert (await client.search("sluice gate", position=deleted["position"]))["hits"] == []


async def test_an_uploaded_file_is_followed_to_the_end_and_given_back(http: httpx.AsyncClient, client: Gateway) -> None:
    path = FILES / "sicherheitsunterweisung.md"
    accepted = await client.add_file(path, "text/markdown", collection="safety", tags="de,yearly")
    states = [status["state"] async for status in client.follow(accepted["document_id"])]
    assert states[-1] == "indexed"

    document = (await http.get(f"/v1/documents/{accepted['document_id']}")).json()
    assert (document["filename"], document["collection"], document["tags"]) == (path.name, "safety", ["de", "yearly"])
    content = await http.get(f"/v1/documents/{accepted['document_id']}/content")
    assert content.content == path.read_bytes()
    assert content.headers["content-disposition"].startswith("attachment")

    found = await client.search("Gehörschutz", filters={"collection": "safety", "tags": ["yearly"]})
    assert {hit["document_id"] for hit in found["hits"]} == {accepted["document_id"]}
    assert (await client.search("Gehörschutz", filters={"collection": "other"}))["hits"] == []


async def test_tenants_do_not_see_each_other(http: httpx.AsyncClient, client: Gateway) -> None:
    accepted = await client.add_text("A word that only one tenant knows: quenelle.", document_id="secret")
    await client.search("quenelle", position=accepted["position"])
    other = {"X-Millrace-Tenant": "somebody-else"}
    assert (await http.post("/v1/search", json={"query": "quenelle"}, headers=other)).json()["hits"] == []
    assert (await http.get("/v1/documents/secret", headers=other)).status_code == httpx.codes.NOT_FOUND
