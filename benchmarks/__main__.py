"""`python -m benchmarks PART [--corpus 100k]`: each part measures one thing, and records it."""

from benchmarks.run import main

main()
