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
# Of the long proofs: rounds, seeds of the simulator, images of power cuts, every which system call
# fails, minutes, inputs, connections, and what chance begins with.
ROUNDS ?= 200
SEEDS ?= 0:500
IMAGES ?= 5000
EVERY ?= 1
MINUTES ?= 10
RUNS ?= 1000000
CONNECTIONS ?= 10000
SEED ?= 1
# The page that bench-peers writes, and further arguments of its second half.
NAME ?= peers
ARGS_FRAMEWORKS ?=
PEERS_INSTALLED := .venv-peers/.installed
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
	$(call step,tests,$(BIN)/python -m pytest -n 2 --dist loadfile --durations=15 --durations-min=1)

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

.PHONY: sim
sim: $(INSTALLED) ## Simulate the whole system: make sim SEEDS=0:10000
	@$(BIN)/python -m tests.sim --seeds $(SEEDS) --workers 2 --table $(ARGS)

.PHONY: mutants
mutants: $(INSTALLED) ## Plant faults one at a time, and show what catches each
	@$(BIN)/python -m tests.mutants --jobs 2 $(ARGS)

.PHONY: crash
crash: $(INSTALLED) ## kill -9 in every phase, power cuts, disk errors: make crash ROUNDS=1000 IMAGES=20000
	@ROUNDS=$(ROUNDS) $(BIN)/python -m pytest -q tests/acceptance/test_kill9.py
	@$(BIN)/python -m tests.crash --rounds $(ROUNDS) --seed $(SEED)
	@$(BIN)/python -m tests.power images --images $(IMAGES) --seed $(SEED) --jobs 2
	@$(BIN)/python -m tests.power controls --seed $(SEED)
	@$(BIN)/python -m tests.power errors --every $(EVERY) --seed $(SEED)

.PHONY: network
network: $(INSTALLED) ## Bad weather between clients, workers and broker: make network ROUNDS=540
	@$(BIN)/python -m tests.network --rounds $(ROUNDS) --seed $(SEED) $(ARGS)

.PHONY: fuzz
fuzz: $(INSTALLED) ## Wrong inputs guided by coverage (installs atheris): make fuzz MINUTES=60
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'atheris>=3.0'
	@$(BIN)/python -m tests.fuzz --guided --minutes $(MINUTES) $(ARGS)

.PHONY: fuzz-random
fuzz-random: $(INSTALLED) ## Wrong inputs by chance, without atheris: make fuzz-random RUNS=2000000
	@$(BIN)/python -m tests.fuzz --runs $(RUNS) $(ARGS)

.PHONY: floods
floods: $(INSTALLED) ## 10,000 connections, 10,000 waiting reserves, peers that never read
	@$(BIN)/python -m tests.floods --connections $(CONNECTIONS) $(ARGS)

.PHONY: soak
soak: $(INSTALLED) ## Mixed work with restarts for a long time: make soak MINUTES=60
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) --seed $(SEED) $(ARGS)

.PHONY: bench
bench: $(INSTALLED) ## Measure Tenure as a real server process here: make bench ARGS=--quick
	@$(BIN)/python -m bench $(ARGS)

.PHONY: bench-growth
bench-growth: $(INSTALLED) ## Measure what more jobs, queues, bytes and connections cost
	@$(BIN)/python -m bench.growth $(ARGS)

# One page: the brokers, the task frameworks, and the report of both.
.PHONY: bench-peers
bench-peers: $(PEERS_INSTALLED) ## The same work on Tenure, the brokers and the task frameworks used today
	@rm -f bench/results/$(NAME).jsonl bench/results/$(NAME)-frameworks.jsonl
	@$(BIN)/python -m bench.peers --name $(NAME) $(ARGS)
	@$(BIN)/python -m bench.peers.frameworks --out bench/results/$(NAME)-frameworks.jsonl $(ARGS_FRAMEWORKS)
	@$(BIN)/python -m bench.peers --report --name $(NAME) --also bench/results/$(NAME)-frameworks.jsonl

.PHONY: peers-venv
peers-venv: $(PEERS_INSTALLED) ## What bench-peers measures, as far as PyPI and npm have it

# What cannot be had on this machine is told, and left out of the comparison.
$(PEERS_INSTALLED): $(INSTALLED) $(wildcard bench/peers/requirements.txt bench/peers/frameworks/requirements*.txt)
	@test -x .venv-peers/bin/python || $(BIN)/python -m venv .venv-peers
	@test -x .venv-arq/bin/python || $(BIN)/python -m venv .venv-arq
	@for each in bench/peers/requirements.txt bench/peers/frameworks/requirements.txt; do \
		grep -v '^#' $$each | while read -r one; do \
			.venv-peers/bin/python -m pip install -q --disable-pip-version-check "$$one" \
				|| echo "not installed: $$one"; done; done
	@.venv-arq/bin/python -m pip install -q --disable-pip-version-check \
		-r bench/peers/frameworks/requirements-arq.txt || echo "not installed: arq"
	@npm ci --silent --prefix bench/peers/frameworks || echo "not installed: bullmq (npm is needed)"
	@touch $@

.PHONY: image-check
image-check: $(INSTALLED) ## Do by hand what the Dockerfile does, and start the result
	@$(BIN)/python deploy/image_check.py

.PHONY: clean
clean: ## Remove .venv, caches and what was built
	rm -rf $(VENV) .venv-peers .venv-arq .fuzz dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
