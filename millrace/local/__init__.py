"""The local parts: a real Kafka and a real Postgres under one data folder, and the processes beside them.

Needs the extra ``local``.
"""

from millrace.local.home import Home
from millrace.local.kafka import LocalKafka
from millrace.local.postgres import LocalPostgres
from millrace.local.process import Child, terminate_in_order

__all__ = ["Child", "Home", "LocalKafka", "LocalPostgres", "terminate_in_order"]
