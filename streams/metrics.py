"""What the stages count."""

from prometheus_client import Counter, Gauge, Histogram

HANDLED = Counter("millrace_records_handled", "Records done with.", ["stage"])
DEAD_LETTERED = Counter("millrace_records_dead_lettered", "Records given up.", ["stage", "error_type"])
RETRIED = Counter("millrace_records_retried", "Tries that failed and are tried again.", ["stage"])
HELD = Gauge("millrace_records_held", "Records in memory: waiting, at work, or pausing before another try.", ["stage"])
HELD_BYTES = Gauge("millrace_records_held_bytes", "Bytes of their values.", ["stage"])
EMBEDDED = Counter("millrace_chunks_embedded", "Contents that the embedder made a vector of.")
REUSED = Counter("millrace_chunks_reused", "Chunks whose content had a vector already.")
HANDLING_S = Histogram(
    "millrace_batch_handling_seconds",
    "Time of one try at a batch of records, waiting for Kafka and Postgres included.",
    ["stage"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
