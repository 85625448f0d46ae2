"""Documents: upload, follow, read, list, delete, cancel, retry and reprocess."""
