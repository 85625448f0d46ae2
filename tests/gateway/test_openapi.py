"""The OpenAPI description: whole, valid, and honest about problems."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema_rs import meta

from gateway.app import create_app
from gateway.problems import MEDIA_TYPE
from gateway.settings import GatewaySettings

METHODS = {"get", "put", "post", "delete", "patch", "head", "options"}


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return create_app(GatewaySettings()).openapi()


def operations(description: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in description["paths"].items():
        assert methods.keys() <= METHODS
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def refs(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for each in part.values():
            yield from refs(each)
    elif isinstance(part, list):
        for each in part:
            yield from refs(each)


def schemas(part: Any) -> Iterator[Any]:
    if isinstance(part, dict):
        if "schema" in part:
            yield part["schema"]
        for each in part.values():
            yield from schemas(each)
    elif isinstance(part, list):
        for each in part:
            yield from schemas(each)


def test_it_is_whole(description: dict[str, Any]) -> None:
    assert description["openapi"].startswith("3.1")
    assert description["info"].keys() >= {"title", "version", "description"}
    defined = {f"#/components/schemas/{name}" for name in description["components"]["schemas"]}
    assert set(refs(description)) <= defined
    for schema in [*schemas(description["paths"]), *description["components"]["schemas"].values()]:
        meta.validate(schema)
    identifiers = [operation["operationId"] for _, operation in operations(description)]
    assert len(set(identifiers)) == len(identifiers) > 10
    for name, operation in operations(description):
        declared = {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}
        assert declared == set(re.findall(r"\{(\w+)\}", name)), name


def test_every_operation_says_what_it_does(description: dict[str, Any]) -> None:
    for name, operation in operations(description):
        assert operation["summary"], name
        assert len(operation["description"]) > 10, name
        assert len(operation["tags"]) == 1, name
        for parameter in operation.get("parameters", []):
            assert parameter.get("description") or parameter["name"] in {"limit", "conversation_id"}, (name, parameter)


def test_every_operation_says_how_it_fails(description: dict[str, Any]) -> None:
    for name, operation in operations(description):
        if " /v1/" not in name:
            continue
        problems = {status: each for status, each in operation["responses"].items() if status >= "400"}
        assert "422" in problems, name
        for status, response in problems.items():
            assert response["content"] == {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}, (
                name,
                status,
            )
            assert response["description"], (name, status)
        if any(each["name"] == "X-Millrace-Position" for each in operation["parameters"]):
            assert {"400", "503"} <= problems.keys(), name
    assert description["paths"]["/readyz"]["get"]["responses"]["503"]
