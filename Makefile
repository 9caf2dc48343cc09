# `make demo` and `make test` need nothing before them: each sets up what it uses.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
PYTEST := $(BIN)/pytest
# Open data sets beside the repository; tests that need them say so and skip where they are not.
export JAGA_SHARED_DATA ?= $(abspath ../shared/data)
export FLWR_TELEMETRY_ENABLED := 0

.PHONY: help setup peers demo test test-system lint style types contract lock clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup:  ## make .venv and install everything (quick when nothing has changed)
	@.ci/setup

peers:  ## make .venv-peers: the frameworks that `jaga-sim bench engine` compares with (several GB on x86-64)
	[ -x .venv-peers/bin/python ] || $${PYTHON:-python3.11} -m venv .venv-peers
	.venv-peers/bin/pip install --quiet -r simulations/benchmarks/peers/requirements.txt

demo: setup  ## run a whole federation on this machine; pass options with ARGS="--rounds 5"
	$(BIN)/jaga-sim demo $(ARGS)

test: setup  ## fast tests, in parallel; pass options with ARGS="-k ledger"
	$(PYTEST) -n logical --maxprocesses 8 --dist worksteal -m "not system and not slow" $(ARGS)

test-system: setup  ## tests with real brokers, databases and processes
	$(PYTEST) -n 2 --dist worksteal -m "system or slow" $(ARGS)

lint: style types contract  ## style, types and the import contract

style: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

contract: setup
	$(BIN)/lint-imports

lock: setup  ## resolve locks/ anew from pyproject.toml
	@.ci/lock

clean:  ## remove .venv and everything that tools have left
	rm -rf .venv .venv-peers build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
