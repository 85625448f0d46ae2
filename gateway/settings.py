"""What can be set for the gateway."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.events import TenantId


class GatewaySettings(BaseSettings):
    """How the gateway runs."""

    model_config = SettingsConfigDict(env_prefix="MILLRACE_GATEWAY_", frozen=True)

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=1, le=65_535, description="Port to listen on.")
    default_tenant: TenantId = Field(
        default="default", description="Tenant of requests that carry no X-Millrace-Tenant header."
    )
    upload_bytes_max: int = Field(default=268_435_456, ge=1, description="Largest file that is accepted, in bytes.")
    json_bytes_max: int = Field(default=4_194_304, ge=1, description="Largest JSON body that is accepted, in bytes.")
    wait_timeout_s: float = Field(
        default=10, gt=0, description="Seconds that a read waits at most for the position it was asked to see."
    )
    answer_timeout_s: float = Field(default=120, gt=0, description="Seconds that a chat request waits for its answer.")
    lag_max: int = Field(
        default=100_000,
        ge=1,
        description="Events that parse, embed and index may be behind in all before new documents are refused.",
    )
    lag_age_max_s: float = Field(
        default=3_600, gt=0, description="Seconds that one of them may be behind before new documents are refused."
    )
    in_flight_bytes_max: int = Field(
        default=1_073_741_824, ge=1, description="Bytes of documents that may be on their way through this process."
    )
    chats_max: int = Field(default=256, ge=1, description="Questions that may wait for their answer in this process.")
    tenant_share: float = Field(
        default=0.5, gt=0, le=1, description="Part of both that one tenant may have, from 0 to 1."
    )
    database_waiting_max: int = Field(
        default=64, ge=1, description="Requests that may wait for a database connection before others are refused."
    )
    memory_bytes_max: int = Field(
        default=2_147_483_648, ge=1, description="Memory of this process above which writes are refused, in bytes."
    )
