"""What can be set for the workers."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class WorkerSettings(BaseSettings):
    """How a worker runs."""

    model_config = SettingsConfigDict(env_prefix="MILLRACE_WORKER_", frozen=True)

    parse_processes: int = Field(default=2, ge=1, description="Processes that parse documents, per parse worker.")
    parse_timeout_s: float = Field(default=300, gt=0, description="Seconds that parsing one document may take.")
    parse_memory_mb: int = Field(
        default=1_024,
        ge=256,
        description="Megabytes that a parser process may allocate; the longest text takes 250, and in emoji 800.",
    )
    attempts_max: int = Field(
        default=60,
        ge=1,
        description="Tries against a failing embedder or object store (about 14 minutes) before the dead letter.",
    )
    session_timeout_s: float = Field(
        default=10, ge=6, le=30, description="Seconds after which a silent worker's partitions go to another one."
    )
    instance_id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="A name that this worker keeps over restarts, so that a quick restart causes no rebalance.",
    )
    host: str = Field(default="127.0.0.1", description="Address of the worker's health and metrics port.")
    port: int | None = Field(default=None, ge=1, le=65_535, description="Port of /healthz and /metrics; off if unset.")
