# `make` alone tells what there is.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# The first Python that is new enough; another by `make PYTHON=/path/to/python3 ...`.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c '$(NEW_ENOUGH)' 2>/dev/null && echo "$$python" && break; done)

# uv, from the PATH or else from PyPI into a folder of its own: the system's Python may forbid installing into it.
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .uv/bin/uv)

# Another folder beside another Python: `make test PYTHON=python3.13 VENV_DIR=.venv-3.13`.
VENV_DIR ?= .venv
VENV := $(VENV_DIR)/bin
SYNCED := $(VENV_DIR)/.synced

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: $(SYNCED) ## Install the locked Python environment and Kafka's jars
	@test -n "$$KAFKA_BOOTSTRAP_SERVERS" || $(VENV)/python -m millrace.local

.PHONY: demo
demo: setup ## Start everything, index the sample corpus, search it and ask about it; Ctrl-C stops
	@$(VENV)/millrace demo

.PHONY: test
test: setup ## Run all tests, on a real Kafka and a real Postgres
	@$(VENV)/pytest

.PHONY: chaos
chaos: setup ## Break a cluster of real parts in 200 ways under load, and check every promise: 40 minutes
	@$(VENV)/millrace chaos --rounds 200

# With this seed all kinds of faults but one come in so few rounds, at every kind of part.
.PHONY: chaos-short
chaos-short: setup ## The same in a few rounds, with a fixed seed: 4 minutes
	@$(VENV)/millrace chaos --rounds 14 --seed 1532

.PHONY: zombies
zombies: setup ## Freeze workers in the middle of their work, and see that what they do late changes nothing: 5 minutes
	@$(VENV)/pytest -m chaos tests/guarantees

FUZZ_SECONDS ?= 600

.PHONY: fuzz
fuzz: $(SYNCED) ## Shoot at the parser and the event decoder, for FUZZ_SECONDS (600) each
	@FUZZ_SECONDS=$(FUZZ_SECONDS) $(VENV)/pytest tests/fuzz

.PHONY: backlog
backlog: setup ## Let a worker catch up with 20,000 documents, and look at its memory: 7 minutes
	@BACKLOG_DOCUMENTS=20000 $(VENV)/pytest tests/acceptance/test_backlog.py --log-cli-level=INFO --timeout 1200

.PHONY: compose-trial
compose-trial: setup samples ## Try docker-compose.yml for real; needs a Docker engine
	@deploy/trial

.PHONY: lint
lint: $(SYNCED) ## Check style, types and who imports whom
	$(VENV)/ruff check
	$(VENV)/ruff format --check
	$(VENV)/mypy
	$(VENV)/lint-imports

.PHONY: format
format: $(SYNCED) ## Format the code, and mend what can be mended
	$(VENV)/ruff check --fix
	$(VENV)/ruff format

.PHONY: schemas
schemas: $(SYNCED) ## Generate the JSON Schema and AsyncAPI files from the event models
	$(VENV)/python -m schemas.generate

.PHONY: samples
samples: $(SYNCED) ## Generate the binary documents of the sample corpus
	$(VENV)/python -m samples.generate

.PHONY: chaos-broken
chaos-broken: setup ## Break each promise on purpose, and see that the checker finds it: 15 minutes
	@$(VENV)/pytest -m chaos tests/chaos/test_broken.py

CORPUS ?= 10k
BENCHES := $(addprefix bench-,limits peers ingest search freshness guarantees report)
.PHONY: bench $(BENCHES) bench-check
# The peers' environments are made with uv.
bench $(BENCHES): export PATH := $(CURDIR)/.uv/bin:$(PATH)
bench: setup ## Measure everything beside the peers, CORPUS=3k, 10k, 100k or 1m chunks, or public texts
	@$(VENV)/python -m benchmarks --corpus $(CORPUS)
$(BENCHES): setup ## Measure one part
	@$(VENV)/python -m benchmarks --corpus $(CORPUS) $(@:bench-%=%)
bench-check: setup ## Compare what a document costs with the baseline
	@$(VENV)/python -m benchmarks.check

LOCK = $(UV) pip compile pyproject.toml --universal --generate-hashes --python-version 3.11 --quiet

.PHONY: lock
lock: $(UV) ## Lock the dependencies of pyproject.toml anew: all of them, and those that the image needs
	$(LOCK) --all-extras --group dev --output-file requirements.lock
	$(LOCK) --constraints requirements.lock --output-file requirements-runtime.lock

.PHONY: clean-data
clean-data: $(SYNCED) ## Forget all local data; Kafka's jars stay
	@$(VENV)/millrace clean-data

.PHONY: clean
clean: ## Remove what was installed and built; data stays
	rm -rf .venv .uv dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# Stamped when done, so that it is done again only once the lock or the project has changed.
$(SYNCED): requirements.lock pyproject.toml | $(UV)
	@$(call require_python)
	@test -x $(VENV)/python || $(UV) venv --quiet --python "$(PYTHON)" $(VENV_DIR)
	$(UV) pip sync --quiet --compile-bytecode --python $(VENV)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(VENV)/python --no-deps --editable .
	@touch $@

.uv/bin/uv:
	@$(call require_python)
	@$(PYTHON) -m venv .uv || { echo "Python cannot make a virtual environment: on Debian, apt install python3-venv." >&2; exit 1; }
	.uv/bin/pip install --quiet uv

require_python = "$(or $(PYTHON),false)" -c '$(NEW_ENOUGH)' 2>/dev/null || \
	{ echo "Millrace needs Python 3.11 or later: install one, or name it with make PYTHON=/path/to/python3." >&2; exit 1; }
