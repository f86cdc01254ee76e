# Everything lives in .venv: `make demo` and `make test` are all that a fresh checkout needs (Python 3.11+, git, make).
# uv is used where it is installed, plain venv and pip otherwise; both install the same hashed lock.

VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements/lock.txt
STAMP := $(VENV)/.installed

# The first interpreter that is new enough; PYTHON=... overrules it.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$name && break; done)

# Tests run on this many processes; WORKERS=0 runs them in one, which debuggers like.
WORKERS ?= 3

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(STAMP) ## .venv with everything; .venv/bin/penstock works

# The lock is whole: without --no-deps pip would look for extras that it does not name.
$(STAMP): pyproject.toml $(LOCK)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed (set PYTHON=/path/to/it)" >&2; exit 1; }
	@if command -v uv >/dev/null; then \
		$(BIN)/python -c '' 2>/dev/null || uv venv --quiet --clear --python "$(PYTHON)" $(VENV); \
		uv pip install --quiet --python $(BIN)/python --require-hashes -r $(LOCK) && \
		uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .; \
	else \
		$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV); \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(LOCK) && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .; \
	fi
	@touch $@

.PHONY: demo
demo: setup ## the whole system on this machine, with a dashboard
	$(BIN)/penstock demo

.PHONY: test
test: lint ## lint, type-check and run every test
	$(BIN)/python -m slipcover --json --out .coverage.json -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
	@$(BIN)/python -m slipcover --merge .coverage.json --out .coverage.json --fail-under 85

# On which log, how often and with which random numbers: `make chaos LOG=kafka KILLS=100 SEED=7`.
LOG ?= embedded
KILLS ?= 20
SEED ?= 1

.PHONY: chaos
chaos: setup ## kill, pause and damage a running system KILLS times on LOG, then prove that nothing was lost or doubled
	$(BIN)/python -m tests.chaos --kills $(KILLS) --seed $(SEED) --log $(LOG)

# The port of `make kafka`.
KAFKA_PORT ?= 9092

.PHONY: kafka
kafka: setup ## a Kafka broker on localhost:KAFKA_PORT until Ctrl-C (needs Java 17; the first run fetches it with mvn)
	@KAFKA_PORT=$(KAFKA_PORT) $(BIN)/python -W ignore::DeprecationWarning -m tests.broker

BENCHMARKS ?= learner scorer latency scaling recovery memory drift sequential retrain demo

.PHONY: bench
bench: setup ## the quick form of every benchmark (BENCHMARKS="learner scorer" for some)
	@for name in $(BENCHMARKS); do echo "# $$name" && $(BIN)/python -m benchmarks.$$name --quick || exit 1; done

.PHONY: lint
lint: setup ## format, lint, types, import layers, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m penstock.schemas --check

COMPILE = uv pip compile --quiet --generate-hashes --no-header --no-emit-index-url --universal --python-version 3.11
# What the images install: parts of the lock, in its versions.
PART = $(COMPILE) --no-annotate --constraint $(LOCK)

.PHONY: lock
lock: setup ## resolve the dependencies again (needs uv)
	$(COMPILE) --all-extras --upgrade pyproject.toml --output-file $(LOCK)
	$(PART) requirements/build.in --output-file requirements/build.txt
	$(PART) --extra kafka pyproject.toml requirements/serving.in --output-file requirements/serving.txt
	$(PART) --extra kafka --extra cluster --extra notify --extra retrain pyproject.toml --output-file requirements/worker.txt

.PHONY: clean
clean: ## remove what the other targets made, but not the data directory
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.* dist
