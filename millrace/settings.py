"""What can be set for the command line."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class CommandSettings(BaseSettings):
    """How the command line runs."""

    model_config = SettingsConfigDict(env_prefix="MILLRACE_", frozen=True)

    url: str = Field(default="http://127.0.0.1:8000", description="The gateway that the commands talk to.")
    tenant: str | None = Field(default=None, description="Whose documents the commands are about.")
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="Least level that is logged."
    )
    home: str = Field(default=".millrace", description="Folder of the local Kafka, Postgres and documents.")
    kafka_port: int = Field(default=19_092, ge=1, le=65_535, description="Port of the local Kafka.")
    postgres_port: int = Field(default=54_329, ge=1, le=65_535, description="Port of the local Postgres.")
