"""Settings: each one told, none of them a secret that shows."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from millrace.reference import GROUPS, Setting, settings_of, settings_page, settings_table

SECRET_WORDS = ("password", "key", "secret", "token")
PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
ALL = [setting for group in GROUPS for setting in settings_of(group)]


@pytest.mark.parametrize("setting", ALL, ids=lambda setting: setting.name)
def test_every_setting_is_told(setting: Setting) -> None:
    assert setting.description.endswith(".")
    assert "|" not in setting.description + setting.default
    assert (
        setting.name == "KAFKA_BOOTSTRAP_SERVERS"
        or setting.name == "DATABASE_URL"
        or setting.name.startswith("MILLRACE_")
    )
    assert f"| `{setting.name}` |" in settings_table()


def test_names_are_told_once() -> None:
    assert len({setting.name for setting in ALL}) == len(ALL)


def test_every_name_is_the_one_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for group in GROUPS:
        for setting, field in zip(settings_of(group), group.model_fields, strict=True):
            monkeypatch.setenv(setting.name, setting.default or "7")
            assert field in group().model_fields_set, setting.name
            monkeypatch.delenv(setting.name)


def test_every_settings_class_of_the_rooms_is_in_the_list() -> None:
    rooms = {"schemas", "db", "engine", "streams", "gateway", "millrace"}
    assert {each for each in BaseSettings.__subclasses__() if each.__module__.split(".")[0] in rooms} == set(GROUPS)


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = 0
    for group in GROUPS:
        for setting, (name, field) in zip(settings_of(group), group.model_fields.items(), strict=True):
            secret = SecretStr in {field.annotation, *getattr(field.annotation, "__args__", ())}
            assert secret or not any(name.endswith(word) for word in SECRET_WORDS), setting.name
            if secret:
                hidden += 1
                assert not setting.default or setting.name == "DATABASE_URL"
                assert "@" not in setting.default or ":" not in setting.default.split("//")[1].split("@")[0]
                monkeypatch.setenv(setting.name, "postgresql://me:hush@db/x")
        current = group()
        for shown in (repr(current), str(current), str(current.model_dump()), current.model_dump_json()):
            assert "hush" not in shown
    assert hidden >= 4
    assert "hush" not in settings_table()


def test_the_page_is_fresh() -> None:
    assert settings_table() in settings_page()
    assert PAGE.read_text() == settings_page(), "run `millrace settings > docs/settings.md`"


def test_the_command_prints_the_page_and_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hush@db/x")
    monkeypatch.setenv("MILLRACE_EMBEDDER_API_KEY", "hush")
    printed = subprocess.run([sys.executable, "-m", "millrace", "settings"], check=True, capture_output=True)
    assert printed.stdout.decode() == settings_page()
    assert printed.stderr == b""
