# Every verb is one sentence in `make help`; the work is done by `lab` (tests/lab) and tools/build.py.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# The system's own interpreter: uv must not be found through the project's environment that it makes.
PYTHON ?= python3
UV := .build/uv/bin/uv
RUN := $(UV) run --frozen
ENV := .build/env.stamp
# For tests that wait most of the time: they share the processors.
SHARING := @tests/side-by-side.args

$(UV): tools/bootstrap.py
	@$(PYTHON) tools/bootstrap.py $@

$(ENV): $(UV) pyproject.toml uv.lock images/agent/pyproject.toml
	@echo "setup: the Python environment (.venv)"
	@$(UV) sync --frozen --quiet --compile-bytecode
	@touch $@

.PHONY: help
help: ## List every verb in a sentence.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup tools
setup: $(ENV) ## Make the Python environment that everything else runs in.

tools: ## Build every pinned command-line tool into .build/bin.
	@$(PYTHON) tools/build.py

.PHONY: up down status images
up: setup tools ## Bring up the local two-node cluster, or repair it after a crash.
	@$(RUN) lab up

down: setup ## Take the cluster down and leave nothing behind.
	@$(RUN) lab down

status: setup ## Show the cluster's nodes, processes and pods.
	@$(RUN) lab status

images: setup tools ## Build the agent image and the lab's images.
	@$(RUN) lab images

.PHONY: demo dev
demo: setup tools ## Hold four real calls, upgrade the fleet and kill a pod under them, and show what the callers heard.
	@$(RUN) lab demo $(DEMO)

dev: setup tools ## Run one agent and one caller as plain processes, without a cluster.
	@$(RUN) lab dev $(DEV)

.PHONY: test test-unit test-chart test-ct test-integration test-e2e lint
test: setup tools ## Run every test there is; this is what CI runs.
	@$(RUN) lab test

test-unit: setup ## Run the tests that need no server, in seconds.
	@$(RUN) pytest $(SHARING) -m "not integration and not image and not cluster" images/agent/tests tools/tests tests/lab tests/bench

test-chart: setup tools ## Render, lint and golden-test the chart and the examples.
	@$(RUN) pytest -m "not cluster and not integration and not image" tests/chart tests/examples

test-ct: setup tools ## Lint the chart by ct, and have it installed and upgraded on the cluster.
	@$(RUN) pytest tests/chart/test_tools.py -k "test_ct"

test-integration: setup tools ## Test the image's code with a real livekit-server, simulator and callers, without a cluster.
	@$(RUN) pytest $(SHARING) -m "integration" tests

test-e2e: setup tools ## Test calls under disruption on the local cluster.
	@$(RUN) pytest tests/e2e

lint: setup tools ## Run every linter and type checker.
	@$(RUN) pytest tests/lint

.PHONY: bench-disruptions
bench-disruptions: setup tools ## Repeat the disruption matrix, and the blueprint beside it, until 500 calls were disrupted; print the tables.
	@$(RUN) python tests/bench/disruptions.py $(BENCH)

.PHONY: generate format clean
generate: setup tools ## Write generated files anew: values schema, chart and image READMEs, goldens.
	@$(RUN) lab generate

format: setup ## Format the Python code.
	@$(RUN) ruff format .
	@$(RUN) ruff check --fix .

clean: ## Remove every build output (run `make down` first).
	@rm -rf .build .venv
