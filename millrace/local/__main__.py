"""``python -m millrace.local`` gets Kafka's jars, so that the first start need not."""

import sys

from millrace.local.home import Home
from millrace.local.jars import resolve_jars
from millrace.local.java import find_java
from schemas.errors import MillraceError

try:
    resolve_jars(Home.default().kafka_libs, find_java())
except MillraceError as error:
    sys.exit(f"{error} {error.hint or ''}")
