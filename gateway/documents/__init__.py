"""Documents: upload, follow, read, list and delete."""
