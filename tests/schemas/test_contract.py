import json
import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import pytest
import typer

from schemas import generate
from schemas.events import Event
from schemas.examples import EXAMPLES
from schemas.generate import ASYNCAPI, CURRENT, asyncapi, contract, event_schema, rendered, schema_file, stale, write
from schemas.topics import TOPICS


def test_the_committed_contract_is_fresh() -> None:
    assert stale(CURRENT) == [], "run `python -m schemas.generate`"


def test_the_check_passes_as_a_command() -> None:
    subprocess.run([sys.executable, "-m", "schemas.generate", "--check"], check=True)


def test_it_comes_out_the_same_each_time() -> None:
    assert rendered(contract()) == rendered(contract())


def test_stale_missing_and_foreign_files_are_named_and_put_right(tmp_path: Path) -> None:
    folder = tmp_path / "contract"
    write(folder)
    assert stale(folder) == []
    (folder / ASYNCAPI).write_text("{}")
    (folder / "millrace.chat.delta.json").unlink()
    (folder / "millrace.gone.json").write_text("{}")
    assert stale(folder) == [ASYNCAPI, "millrace.chat.delta.json", "millrace.gone.json"]
    write(folder)
    assert stale(folder) == []


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(generate, "CURRENT", tmp_path / "contract")
    monkeypatch.setattr(generate, "RELEASED", tmp_path / "released")
    return tmp_path


def test_the_check_fails_and_names_the_stale_file(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generate.main()
    (folders / "contract" / "millrace.chat.delta.json").write_text("{}")
    with pytest.raises(typer.Exit) as caught:
        generate.main(check=True)
    assert caught.value.exit_code == 1
    assert "Stale: millrace.chat.delta.json." in capsys.readouterr().err
    assert (folders / "contract" / "millrace.chat.delta.json").read_text() == "{}"


def test_a_break_is_released_only_under_a_higher_major(
    folders: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    generate.main(release=True)
    released = folders / "released" / "millrace.document.deleted.json"
    older = json.loads(released.read_text())
    older["required"].remove("document_id")
    released.write_text(json.dumps(older))
    with pytest.raises(typer.Exit):
        generate.main(release=True)
    assert "body.document_id may be missing, and is required" in capsys.readouterr().err
    assert json.loads(released.read_text()) == older
    monkeypatch.setattr(generate, "VERSION", "2.0.0")
    generate.main(release=True)
    assert stale(folders / "released") == []


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.event_type)
def test_each_schema_is_valid_and_its_examples_follow_it(event: type[Event]) -> None:
    schema = event_schema(event)
    jsonschema_rs.meta.validate(schema)
    assert schema["title"]
    assert schema["description"]
    assert schema["examples"]
    for example in schema["examples"]:
        jsonschema_rs.Draft202012Validator(schema).validate(example)
        event.model_validate(example)


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = asyncapi()
    files = set(contract())

    def follow(part: object) -> None:
        if isinstance(part, list):
            for item in part:
                follow(item)
        elif isinstance(part, dict):
            for name, value in part.items():
                if name != "$ref":
                    follow(value)
                elif value.startswith("#/"):
                    place = document
                    for step in value.removeprefix("#/").split("/"):
                        place = place[step]
                else:
                    assert value.removeprefix("./") in files

    follow(document)


def test_the_asyncapi_document_tells_every_topic_as_declared() -> None:
    channels = json.loads((CURRENT / ASYNCAPI).read_text())["channels"]
    assert list(channels) == [topic.name for topic in TOPICS]
    for topic in TOPICS:
        binding = channels[topic.name]["bindings"]["kafka"]
        assert binding["partitions"] == topic.partitions
        assert binding["topicConfiguration"]["retention.ms"] == topic.retention_ms
        assert list(channels[topic.name]["messages"]) == [event.event_type for event in topic.events] or [topic.name]


def test_every_message_says_its_type_in_its_headers_and_refers_to_its_schema() -> None:
    messages = asyncapi()["components"]["messages"]
    for event in EXAMPLES:
        message = messages[event.event_type]
        assert message["headers"]["properties"]["ce_type"]["const"] == event.event_type
        assert message["payload"] == {"$ref": f"./{schema_file(event)}"}
