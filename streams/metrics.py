"""What the stages count."""

from prometheus_client import Counter, Histogram

HANDLED = Counter("millrace_records_handled", "Records done with.", ["stage"])
DEAD_LETTERED = Counter("millrace_records_dead_lettered", "Records given up.", ["stage", "error_type"])
RETRIED = Counter("millrace_records_retried", "Tries that failed and are tried again.", ["stage"])
EMBEDDED = Counter("millrace_chunks_embedded", "Contents that the embedder made a vector of.")
REUSED = Counter("millrace_chunks_reused", "Chunks whose content had a vector already.")
HANDLING_S = Histogram(
    "millrace_batch_handling_seconds",
    "Time to handle one batch of records, failures and waiting included.",
    ["stage"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
