# What one does with this repository. `make` alone lists it.

# The first that is new enough; another one: make venv PYTHON=/path/to/python
PYTHON ?= $(shell for python in python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

BIN := .venv/bin
INSTALLED := .venv/installed
# Most of a test is waiting for a broker or a database: four at a time keep two cores busy, and
# beside them two of those that are on RabbitMQ 4.0.
PYTEST_ARGS ?= -n 4 --dist worksteal
# What every run tries on RabbitMQ 4.0 too: the broker's own behaviour, and 50 kills in a row.
ON_RABBITMQ4 := tests/rabbitmq tests/services/test_rabbitmq_cluster.py tests/app/test_restarts.py
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header $(UPGRADE)

VERSION := $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' pyproject.toml)
IMAGE ?= withdrawals-worker:$(VERSION)

# A run starts hundreds of processes: what one of them has compiled is kept for the others.
unexport PYTHONDONTWRITEBYTECODE

.DELETE_ON_ERROR:
.PHONY: help venv demo test covered others on-rabbitmq4 coverage test-rabbitmq4 lint format typecheck walls bench bench-budget bench-looks faults faults-mutations image image-size lock example-env chart chart-golden chart-api-server dashboard-picture clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(INSTALLED) ## Make .venv with everything locked, once

$(INSTALLED): requirements-dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { \
		echo "Python 3.11 or newer is needed. If it is not on PATH: make venv PYTHON=/path/to/python"; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv"; \
		exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: venv ## See a payout happen, all on this machine (KEEP=1 leaves it running)
	$(BIN)/withdrawals-worker demo $(if $(KEEP),--keep)

test: venv ## Everything that CI runs
	tests/services/install.sh
	@tests/services/helm.sh >/dev/null
	# `covered` reads all tests, so that the parallel run after it finds them compiled.
	$(MAKE) --no-print-directory --jobs 4 lint typecheck walls covered
	$(MAKE) --no-print-directory --jobs 2 others on-rabbitmq4

covered: venv ## See that tests with written examples reach every branch of worker/core
	$(BIN)/pytest -q -m covered --cov=worker.core --cov-report=term --cov-fail-under=100

others: venv ## Run the tests that `covered` leaves out
	$(BIN)/pytest $(PYTEST_ARGS) -m "not covered"

on-rabbitmq4: venv ## Run what every run tries on RabbitMQ 4.0 too; tells all of it at its end
	@server=$$(tests/services/rabbitmq4.sh) || exit 1; test -n "$$server" || exit 0; \
		told=$$(mktemp); trap 'cat $$told; rm -f $$told' EXIT; \
		( set -x; WITHDRAWALS_TEST_RABBITMQ_SERVER=$$server \
			$(BIN)/pytest -n 2 --dist worksteal $(ON_RABBITMQ4) ) >$$told 2>&1

coverage: venv ## Run all tests and see which lines none of them reaches (slower by a third)
	tests/services/install.sh
	$(BIN)/pytest $(PYTEST_ARGS) --cov --cov-report=term

test-rabbitmq4: venv ## Run all that talks to a broker on RabbitMQ 4.0, and faults (SEEDS=10)
	tests/services/install.sh
	@server=$$(CI=true tests/services/rabbitmq4.sh) || exit 1; set -x; \
		export WITHDRAWALS_TEST_RABBITMQ_SERVER=$$server; \
		$(BIN)/pytest $(PYTEST_ARGS) tests/rabbitmq tests/app tests/services && \
		$(BIN)/python -m tests.faults --seeds $(or $(SEEDS),10)

lint: venv ## Read the code for slips and style
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: venv ## Put the code into its shape
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

typecheck: venv ## Check the types
	$(BIN)/mypy

walls: venv ## Check who imports whom
	$(BIN)/lint-imports

bench: venv ## Measure how many requests a second go through
	$(BIN)/python -m tests.bench.throughput

bench-budget: venv ## Measure what 3 replicas spend one request limit on, and who waits how long
	tests/services/install.sh
	$(BIN)/python -m tests.bench.budget

bench-looks: venv ## Count the requests that following a withdrawal takes, in virtual time
	$(BIN)/python -m tests.bench.looks

faults: venv ## Break everything around the worker, SEEDS=10 times, or as SEED=17 (PROVIDER=upvest, JOBS=2, SCENARIO=cluster)
	tests/services/install.sh
	$(BIN)/python -m tests.faults $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),10)) \
		$(if $(FIRST),--first $(FIRST)) $(if $(JOBS),--jobs $(JOBS)) \
		$(if $(PROVIDER),--provider $(PROVIDER)) \
		$(if $(SCENARIO),--scenario $(SCENARIO)) $(if $(JSON),--json $(JSON)) $(if $(KEEP),--keep)

faults-mutations: venv ## Break the worker itself, and see that the harness notices it (20 minutes)
	tests/services/install.sh
	$(BIN)/python -m tests.faults.mutations

image: ## Build the image, by Docker or buildah (IMAGE=name:tag, BASE=debian@sha256:..., SOURCE=url)
	@if docker info >/dev/null 2>&1; then set -- docker build; \
	elif command -v buildah >/dev/null; then set -- buildah build --isolation chroot --layers --timestamp $$(git log -1 --format=%ct); \
	else echo "Neither Docker nor buildah is here. On Debian and Ubuntu: apt install buildah"; exit 1; fi; \
	set -x; "$$@" --tag $(IMAGE) $(if $(BASE),--build-arg BASE=$(BASE)) \
		--build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) \
		$(if $(SOURCE),--build-arg SOURCE=$(SOURCE)) $(IMAGE_ARGS) .

image-size: venv ## Build the image as the tests do, and see what it weighs, by folder
	tests/services/install.sh
	$(BIN)/python -m tests.image

lock: ## Pin what pyproject.toml asks for (UPGRADE=--upgrade for the newest)
	@command -v uv >/dev/null || { echo "uv is needed for this: pipx install uv"; exit 1; }
	$(LOCK) --extra tracing --output-file requirements.lock pyproject.toml
	$(LOCK) --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	@# The build backend alone, for the image.
	sed -n 's/^requires = \["\(.*\)"\]$$/\1/p' pyproject.toml | \
		$(LOCK) --constraint requirements-dev.lock --output-file requirements-build.lock -

example-env: venv ## Write config/example.env from the settings
	$(BIN)/python -m config.example > config/example.env

chart: venv ## Write what the chart has from elsewhere: settings, README, rules, dashboard
	$(BIN)/python -m tests.helm.generated

chart-golden: venv ## Write what the chart renders to, for the tests' sets of values
	$(BIN)/python -m tests.helm.golden

chart-api-server: venv ## Try the chart on a real Kubernetes API server (first built, 15 minutes; then 8)
	tests/helm/api_server/build.sh
	$(BIN)/pytest tests/helm/api_server/lifecycle.py

dashboard-picture: venv ## Draw docs/dashboard.png from a bad day of eight minutes (MINUTES=8)
	tests/services/install.sh
	$(BIN)/python -m tests.dashboard.picture $(if $(MINUTES),--minutes $(MINUTES))

clean: ## Remove all that was made
	rm -rf .venv .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find config tests worker -name __pycache__ -prune -exec rm -rf {} +
