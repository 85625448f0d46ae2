"""Measurements, each a command; the figures are kept in `benchmarks/README.md`."""
