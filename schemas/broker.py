"""The broker as Millrace needs it: reachable, with the declared topics, written to without loss."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.errors import BrokerUnavailable, TopicMismatch
from schemas.header_names import take_any_header_name
from schemas.topics import TOPICS, Topic

REQUEST_TIMEOUT_MS = 10_000
PROPAGATION_POLL_S = 0.05
"""How often to look whether a new topic is known yet."""

take_any_header_name()


class BrokerSettings(BaseSettings):
    """How to reach Kafka."""

    model_config = SettingsConfigDict(env_prefix="MILLRACE_KAFKA_", frozen=True)

    bootstrap_servers: str = Field(
        default="127.0.0.1:9092",
        validation_alias="KAFKA_BOOTSTRAP_SERVERS",
        description="Kafka brokers, as host:port,host:port.",
    )
    security_protocol: str = Field(
        default="PLAINTEXT",
        pattern="^(PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)$",
        description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.",
    )
    sasl_mechanism: str = Field(
        default="PLAIN", pattern="^(PLAIN|SCRAM-SHA-256|SCRAM-SHA-512)$", description="PLAIN or SCRAM-SHA-256/512."
    )
    sasl_username: str | None = Field(default=None, description="SASL user.")
    sasl_password: SecretStr | None = Field(default=None, description="SASL password.")
    replication_factor: int = Field(default=1, ge=1, description="Replicas of the topics that Millrace creates.")

    @property
    def servers(self) -> list[str]:
        """The brokers, one by one."""
        return [server.strip() for server in self.bootstrap_servers.split(",") if server.strip()]

    def client(self) -> dict[str, Any]:
        """Arguments that every aiokafka client takes."""
        arguments: dict[str, Any] = {
            "bootstrap_servers": self.servers,
            "security_protocol": self.security_protocol,
            "request_timeout_ms": REQUEST_TIMEOUT_MS,
        }
        if self.security_protocol.endswith("SSL"):
            arguments["ssl_context"] = ssl.create_default_context()
        if self.security_protocol.startswith("SASL"):
            arguments["sasl_mechanism"] = self.sasl_mechanism
            arguments["sasl_plain_username"] = self.sasl_username
            arguments["sasl_plain_password"] = self.sasl_password.get_secret_value() if self.sasl_password else None
        return arguments


@dataclass(frozen=True, slots=True)
class TopicReport:
    """How a topic on the broker stands to its declaration; ``differences`` is empty where they agree."""

    topic: Topic
    created: bool
    differences: tuple[str, ...]


async def ensure_topics(
    settings: BrokerSettings, topics: Sequence[Topic] = TOPICS, *, create: bool = True
) -> list[TopicReport]:
    """Create the declared topics that are missing and compare the others with their declaration.

    Raises `BrokerUnavailable`, and `TopicMismatch` where a partition count differs (keys would change partition).
    """
    async with admin_client(settings) as admin:
        existing = await _described(admin)
        missing = [topic for topic in topics if create and topic.name not in existing]
        created = set()
        if missing:
            created = await _create(admin, missing, settings.replication_factor)
            existing = await _described(admin, awaited={topic.name for topic in topics})
        reports = [
            TopicReport(topic, topic.name in created, await _differences(admin, topic, existing.get(topic.name)))
            for topic in topics
        ]
    for report in reports:
        for difference in report.differences:
            if difference.startswith("partitions"):
                raise TopicMismatch(f"{report.topic.name}: {difference}.")
    return reports


@asynccontextmanager
async def admin_client(settings: BrokerSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client for topics and groups. Raises `BrokerUnavailable` for whatever goes wrong with the broker."""
    admin = AIOKafkaAdminClient(**settings.client())
    try:
        await admin.start()
        yield admin
    except (KafkaError, TimeoutError) as error:
        raise BrokerUnavailable(settings.bootstrap_servers) from error
    finally:
        await admin.close()


async def _described(admin: AIOKafkaAdminClient, awaited: set[str] | None = None) -> dict[str, dict[str, Any]]:
    """The broker's topics by name, once ``awaited`` are among them: a new topic is known everywhere a moment later.

    All of them are asked for, since asking by name would create the missing ones on a broker that does so by itself.
    """
    async with asyncio.timeout(REQUEST_TIMEOUT_MS / 1_000):
        while True:
            found = {topic["topic"]: topic for topic in await admin.describe_topics() if not topic["error_code"]}
            if not awaited or awaited <= found.keys():
                return found
            await asyncio.sleep(PROPAGATION_POLL_S)


async def _create(admin: AIOKafkaAdminClient, topics: list[Topic], replication_factor: int) -> set[str]:
    """Names of the topics that this call created: another process that started at the same moment may be first."""
    response = await admin.create_topics(
        [NewTopic(topic.name, topic.partitions, replication_factor, topic_configs=topic.config()) for topic in topics]
    )
    created = set()
    for name, code, *rest in response.topic_errors:
        error = for_code(code)
        if not code:
            created.add(name)
        elif error is not TopicAlreadyExistsError:
            raise TopicMismatch(f"{name} could not be created: {error.__name__} {rest[0] if rest else ''}".strip())
    return created


async def _differences(admin: AIOKafkaAdminClient, topic: Topic, described: dict[str, Any] | None) -> tuple[str, ...]:
    if described is None:
        return ("missing",)
    found = []
    partitions = len(described["partitions"])
    if partitions != topic.partitions:
        found.append(f"partitions {partitions}, declared {topic.partitions}")
    responses = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name)])
    actual = {entry[0]: entry[1] for response in responses for resource in response.resources for entry in resource[4]}
    found += [
        f"{name} {actual[name]}, declared {declared}"
        for name, declared in topic.config().items()
        if actual.get(name, declared) != declared
    ]
    return tuple(found)
