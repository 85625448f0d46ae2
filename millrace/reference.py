"""All settings in one list, each declared in the room that uses it; the table in the docs is made from it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from db.blobs import BlobSettings
from db.pool import DatabaseSettings
from engine.answer import AnswererSettings
from engine.chunk import ChunkSettings
from engine.embed import EmbedderSettings
from gateway.settings import GatewaySettings
from millrace.settings import CommandSettings
from schemas.broker import BrokerSettings
from streams.settings import WorkerSettings

GROUPS: tuple[type[BaseSettings], ...] = (
    BrokerSettings,
    DatabaseSettings,
    BlobSettings,
    EmbedderSettings,
    ChunkSettings,
    AnswererSettings,
    WorkerSettings,
    GatewaySettings,
    CommandSettings,
)


class Setting(NamedTuple):
    """One environment variable."""

    name: str
    default: str
    description: str


def settings_of(group: type[BaseSettings]) -> Iterator[Setting]:
    """The environment variables of a group."""
    for name, field in group.model_fields.items():
        prefix = str(group.model_config["env_prefix"])
        variable = field.validation_alias if isinstance(field.validation_alias, str) else f"{prefix}{name}".upper()
        yield Setting(variable, _shown(field), field.description or "")


INTRODUCTION = """# Settings

Every setting is an environment variable, declared in the room that uses it and read when a process starts. This page is
made from those declarations: `millrace settings > docs/settings.md` writes it anew, and a test compares the two.
"""


def settings_page() -> str:
    """The page of the documentation that tells all settings."""
    return f"{INTRODUCTION}\n{settings_table()}"


def settings_table() -> str:
    """All settings as Markdown tables."""
    tables = []
    for group in GROUPS:
        rows = "\n".join(
            f"| `{setting.name}` | {f'`{setting.default}`' if setting.default else ''} | {setting.description} |"
            for setting in settings_of(group)
        )
        heading = (group.__doc__ or "").splitlines()[0].rstrip(".")
        tables.append(f"## {heading}\n\n| variable | default | meaning |\n|---|---|---|\n{rows}\n")
    return "\n".join(tables)


def _shown(field: FieldInfo) -> str:
    default: Any = field.default
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    return "" if default is None else str(default)
