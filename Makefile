# `make run` shows the platform at work, `make test` tests it; both set up what they need. CONTRIBUTING.md tells the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := shared services/controller services/passport services/builder services/registry_refresher services/hooks standalone
ARGS ?=
# How many processes run tests, each whole files of them; with 0 it is this one, in which debuggers work.
WORKERS ?= 2
TOGETHER := --numprocesses=$(WORKERS)
SHELL := /bin/bash

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run run-check check lint types contracts openapi openapi-check test test-cluster test-unit rabbitmq s3-server bench bench-api bench-engine bench-push bench-standalone lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit("Workflow needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@echo "Setting up: virtual environment"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.lock

$(VENV)/.run: $(BIN)/uv requirements/run.lock $(PACKAGES:%=%/pyproject.toml)
	@echo "Setting up: dependencies of the platform"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/run.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps $(PACKAGES:%=-e ./%)
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.lock
	@echo "Setting up: dependencies of the tests and checks"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.lock
	@touch $@

setup: $(VENV)/.run ## Install the platform into .venv
setup-dev: $(VENV)/.dev ## Install what tests and checks need besides

run: setup ## Start the platform, deploy the bundled sample by git push, stay up until Ctrl-C
	@$(BIN)/workflow demo $(ARGS)

run-check: setup ## The same unattended in a directory of its own: assert the answer, stop, leave nothing (ARGS=--json for figures)
	@$(BIN)/workflow check $(ARGS)

check: lint types contracts openapi-check ## All static checks

lint: setup-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

# What the builder image has is no package of ours: it is checked from where it will be.
types: setup-dev
	@$(BIN)/mypy
	@cd services/builder/imagebuilder/buildpacks/cnb && \
		MYPYPATH=lifecycle:. $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache/builder-image -p workflow -p phases

contracts: setup-dev
	@$(BIN)/lint-imports

openapi: setup-dev ## Write docs/openapi.json anew: review what it changes
	@$(BIN)/workflow-controller openapi > docs/openapi.json.new && mv docs/openapi.json.new docs/openapi.json

openapi-check: setup-dev
	@$(BIN)/workflow-controller openapi | diff -u docs/openapi.json - || \
		{ echo "docs/openapi.json is not what the controller publishes: run make openapi, review the difference" >&2; exit 1; }

rabbitmq: # The tests use a real broker: Debian's server where it may be installed, else the compose file's.
	@tests/support/ensure-rabbitmq

s3-server: setup-dev # Some tests use a real S3 server, compiled once from its published Go module.
	@PYTHONPATH=tests $(BIN)/python -m support.s3_server

test: setup-dev rabbitmq ## The whole test suite
	@$(BIN)/pytest $(TOGETHER) $(ARGS)

test-cluster: setup-dev ## The tests that need a Kubernetes: KUBECONFIG says which
	@$(BIN)/pytest tests/cluster $(TOGETHER) $(ARGS)

test-unit: setup-dev ## The tests that need no server
	@$(BIN)/pytest tests/unit $(TOGETHER) $(ARGS)

bench: bench-standalone bench-api bench-push ## All benchmarks

bench-api: setup-dev ## Requests per second, latency, queries and memory of the controller's API (ARGS=--quick for a look)
	@PYTHONPATH=tests $(BIN)/python -m bench.api $(ARGS)

bench-engine: setup-dev ## Rollouts, drift, destruction and resync of apps on the cluster of KUBECONFIG (ARGS=--quick for a look)
	@PYTHONPATH=tests $(BIN)/python -m bench.engine $(ARGS)

bench-push: setup-dev ## git push beside OpenSSH's sshd: throughput, login, small pushes, memory (ARGS=--quick for a look)
	@PYTHONPATH=tests $(BIN)/python -m bench.push $(ARGS)

bench-standalone: setup ## Start, stop, push, edge, idle and rolling restart figures of the platform on this machine
	@$(BIN)/workflow check --figures $(ARGS)

LOCK = $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate \
	$(addprefix --no-emit-package workflow-,shared controller passport builder registry-refresher hooks standalone)
lock: $(BIN)/uv ## Bring the lock files up to the newest versions
	@$(LOCK) --upgrade requirements/bootstrap.in -o requirements/bootstrap.lock
	@$(LOCK) --upgrade requirements/run.in -o requirements/run.lock
	@$(LOCK) --upgrade requirements/run.in requirements/dev.in -o requirements/dev.lock
	@$(LOCK) --upgrade deploy/build.in -o deploy/build.lock

clean: ## Remove the virtual environment and caches
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
