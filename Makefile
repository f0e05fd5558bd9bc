# Tenure: every command a developer needs. Each one makes .venv first if it has to.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The newest Python that can run Tenure; say `make PYTHON=/path/to/python ...` for another one.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$name; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Rounds of the long kill -9 test.
ROUNDS ?= 200
# Further arguments of the demo and the benchmark.
ARGS ?=

# Runs a command under a heading and tells how long it took.
define step
@begun=$$SECONDS; echo "== $(1)"; $(2); echo "-- $(1): $$((SECONDS - begun)) s"
endef

.PHONY: help
help: ## Show this list
	@echo "usage: make TARGET"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: venv
venv: $(INSTALLED) ## Make .venv with everything for development in it

$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer found; install one, or say make PYTHON=..."; exit 1; }
	@echo "== $(VENV) with $$($(PYTHON) --version)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

.PHONY: demo
demo: $(INSTALLED) ## Real work through a real broker, with a kill -9 of a worker and of the broker
	@$(BIN)/python -m examples.stdlib_census $(ARGS)

.PHONY: test
test: check ## Everything a change must pass: the checks, then all tests
	$(call step,tests,$(BIN)/python -m pytest --durations=15 --durations-min=1)

.PHONY: check
check: $(INSTALLED) ## Format, lint, types and architecture, without running the product
	$(call step,ruff format,$(BIN)/ruff format --check .)
	$(call step,ruff check,$(BIN)/ruff check .)
	$(call step,mypy,$(BIN)/mypy)
	$(call step,pyright,$(BIN)/pyright)
	$(call step,architecture,$(BIN)/python -m pytest -q tests/architecture)

.PHONY: unit
unit: $(INSTALLED) ## The quick tests only, for the time while you write
	@$(BIN)/python -m pytest -q -m 'not slow' --ignore=tests/acceptance

.PHONY: crash
crash: $(INSTALLED) ## The kill -9 test for a long time: make crash ROUNDS=1000
	@ROUNDS=$(ROUNDS) $(BIN)/python -m pytest -q tests/acceptance/test_kill9.py

.PHONY: bench
bench: $(INSTALLED) ## Measure Tenure as a real server process here: make bench ARGS=--quick
	@$(BIN)/python -m bench $(ARGS)

.PHONY: image-check
image-check: $(INSTALLED) ## Do by hand what the Dockerfile does, and start the result
	@$(BIN)/python deploy/image_check.py

.PHONY: clean
clean: ## Remove .venv, caches and what was built
	rm -rf $(VENV) dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
