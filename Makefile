# What to type; `make` alone lists it. Everything runs from .venv, which is set up on first use.

PYTHON ?= python3
SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

UV_VERSION := 0.13.9
BIN := .venv/bin
export UV_PYTHON_DOWNLOADS := never
# Some machines say that Python keeps nothing that it compiled. Then each of pytest's workers reads and rewrites all tests anew.
export PYTHONDONTWRITEBYTECODE :=
export VIEWERS KEEP SEED CLOCK_AT PORTS INSTALL
SEEDS ?= 1-5
LONGEST ?= 90
RESULTS ?= faults.ndjson
# Tests wait more than they compute: for servers to start, for clocks, for consumers.
WORKERS ?= $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN))

.PHONY: help install up down status demo test lint contract contracts mutants compose-test bench faults

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/.installed ## set up .venv with the locked dependencies; the targets below do it by themselves

.venv/.installed: pyproject.toml uv.lock
	@command -v $(PYTHON) > /dev/null || { echo "$(PYTHON) not found: install Python 3.11 or newer, or say which: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$$($(PYTHON) --version) is too old: Python 3.11 or newer is needed; say which: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/pip || { echo "creating .venv"; $(PYTHON) -m venv .venv || { \
		echo "could not create .venv (on Debian and Ubuntu: apt install python3-venv)"; rm -rf .venv; exit 1; }; }
	@$(BIN)/uv --version 2> /dev/null | grep -qF 'uv $(UV_VERSION)' || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@echo "installing the locked dependencies"
	@$(BIN)/uv sync --frozen --quiet --inexact --python $(BIN)/python
	@touch $@

up: install ## start the dev stack; CLOCK_AT=2024-06-29T19:00:00+08:00 simulates time, PORTS=18000 or auto moves it
	@$(BIN)/fanzha up

down: install ## stop the dev stack; its data stays
	@$(BIN)/fanzha down

status: install ## what runs
	@$(BIN)/fanzha status

demo: install ## play the 16-day campaign, Postgres paused once, and compare every number; VIEWERS=20000 SEED=… KEEP=1
	@$(BIN)/fanzha demo

test: lint ## all checks and tests
	@$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=15 --durations-min=5

lint: install ## format, lint, types, import rules
	@$(BIN)/ruff format --check --quiet . || { echo "not formatted: $(BIN)/ruff format ."; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m checks.house_rules

mutants: install ## change the pure code in a thousand places; the unit tests must notice 95 % (docs/testing.md)
	@$(BIN)/python -m checks.mutants

contract: install ## whether every event goes all the way; one service's contract tests, without the others: SERVICE=reporting
	@test -n "$(SERVICE)" || { echo "which one? make contract SERVICE=checkin|reporting|notification|certificate"; exit 1; }
	@$(BIN)/python -m checks.contracts check
	@$(BIN)/pytest tests/contracts -k '$(SERVICE)'

contracts: install ## bring schemas, AsyncAPI documents and checksums up to date
	@$(BIN)/python -m checks.contracts write

compose-test: install ## docker-compose.yml on a real engine, with replicas, containers killed and paused; INSTALL=1 installs one (root, Debian)
	@COMPOSE_TEST=1 $(BIN)/pytest -m long tests/ops/test_compose_stack.py -s -rs

faults: install ## traffic under faults, then every number compared; SEEDS=1-20 LONGEST=35 (seconds) AGAIN=1 RESULTS=…
	@$(BIN)/python -m tests.e2e.faults $(SEEDS) --longest $(LONGEST) --results $(RESULTS) $(if $(AGAIN),--again)

bench: install ## measure throughput and latency on this machine
	@$(BIN)/python -m bench
