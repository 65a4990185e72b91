# What developers and CI do with this repository. `make` alone tells.
#
# Needed: Python 3.11 or newer; and Go, unless the tools of `make tools` are installed already.

PYTHON ?= python3
VENV ?= .venv
UV_VERSION ?= 0.13.9
# More arguments for pytest, such as PYTEST_ARGS="-n 2 -k suspend".
PYTEST_ARGS ?=
LOCK_ARGS ?=
# `local` (a control plane without containers) or `kind` (where a Docker engine answers).
export CLUSTER ?= local

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TOOLS := $(PYTHON) -m tools
LOCK = $(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --custom-compile-command "make lock" $(LOCK_ARGS)
STEP = @printf '\033[1m==> %s\033[0m\n'

.DEFAULT_GOAL := help
.PHONY: help venv tools cluster-up cluster-down generate lint check test demo demo-helm run bench lock clean

help: ## Show this.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP) ## Make .venv with the pinned requirements and this checkout in it.

$(STAMP): requirements-dev.txt pyproject.toml
	$(STEP) "Python environment in $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

tools: ## Find or build cue, etcd, Kubernetes, kwok, helm and kubectl (the first build takes some minutes).
	$(STEP) "Tools (KUBEBUILDER_ASSETS, PATH, cache, or built with Go)"
	@$(TOOLS) ensure >/dev/null

cluster-up: ## Start a local cluster and print its kubeconfig.
	$(STEP) "Local cluster ($(CLUSTER))"
	@$(TOOLS) up

cluster-down: ## Stop the local cluster.
	@$(TOOLS) down

generate: venv ## Write what is made from code: CRDs, reference pages, files of the chart.
	$(STEP) "What is made from code"
	$(BIN)/python -m vela_workflow.api.crd
	$(BIN)/python -m vela_workflow.authoring docs/reference
	$(BIN)/python -m deploy.generate

lint: venv ## Format check, lint, types, import contracts.
	$(STEP) "Format"
	$(BIN)/ruff format --check .
	$(STEP) "Lint"
	$(BIN)/ruff check .
	$(STEP) "Types"
	$(BIN)/mypy -p vela_workflow -p tools -p deploy -p bench
	$(STEP) "Import contracts"
	$(BIN)/lint-imports
	$(STEP) "What is made from code"
	$(BIN)/python -m deploy.generate --check

check: lint ## Everything that takes less than a minute: lint and unit tests.
	$(STEP) "Unit tests"
	$(BIN)/python -m pytest tests/unit $(PYTEST_ARGS)

test: lint tools ## Lint and all tests, on a real API server and with the real cue command.
	$(STEP) "Tests of units and templates"
	$(BIN)/python -m pytest -n 2 tests/unit tests/cue $(PYTEST_ARGS)
	$(STEP) "Tests on a real API server"
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder tests/faults tests/e2e tests/chart tests/cluster $(PYTEST_ARGS)

demo: venv tools ## Show the system at work on a local cluster.
	$(STEP) "Demo"
	$(BIN)/python -m tools.demo

demo-helm: venv tools ## The same, installed by the Helm chart.
	$(STEP) "Demo of the chart"
	$(BIN)/python -m deploy.demo

run: venv cluster-up ## Run the operator of this checkout against the local cluster.
	$(STEP) "CRDs"
	@"$$($(TOOLS) ensure kubectl 2>/dev/null)" $$($(TOOLS) cluster-args) apply --server-side -f crds
	$(STEP) "Operator (Ctrl-C ends it, make cluster-down the cluster)"
	KUBECONFIG="$$($(TOOLS) kubeconfig)" $(BIN)/python -m vela_workflow.operator

bench: venv tools ## Measure throughput, latency, wake-up and memory.
	$(STEP) "Benchmarks"
	$(BIN)/python -m bench

lock: ## Pin requirements from pyproject.toml, with hashes (LOCK_ARGS=--upgrade for newer versions).
	$(STEP) "Pins"
	$(PYTHON) -m venv --clear $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet uv==$(UV_VERSION)
	$(LOCK) --extra tracing --output-file requirements.txt pyproject.toml
	$(LOCK) --extra tracing --output-file requirements-dev.txt --group dev --constraints requirements.txt pyproject.toml tools/build.in
	rm -rf $(VENV)-lock

clean: cluster-down ## Stop the local cluster and remove all that was made in the checkout (not the tools).
	rm -rf $(VENV) $(VENV)-lock .cluster .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
