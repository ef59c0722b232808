# `make` alone tells what there is. Every target makes what it needs first; Python 3.11 or newer and make are all
# that `make demo` asks of a machine; a C compiler makes it faster. `make test` and below also install one, and
# redis-server, Java, Apache Kafka, a schema registry and promtool; `make test` other people's clients and Chromium, too.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# What the installation compiles, and how: a change there installs anew.
COMPILED := hatch_build.py $(shell find pipeline -name '_*.pyx' -o -name '_*.pxi')

# What a target hands on: `make test ARGS="-k carts"`, `make chaos ARGS="--faults 40"`.
ARGS ?=

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: .venv/.demo ## A small simulated shop through the real worker, on your terminal, in under a minute
	@$(BIN)/pipeline demo $(ARGS)

.PHONY: test
test: ready ## Everything: linters, types, then all tests on a real Kafka and a real Redis
	@export PIPELINE_TESTS_STRICT=1
	run="$(BIN)/python -m pytest -q --durations=10"
	if [ -n "$(ARGS)" ]; then echo "── tests"; exec $$run $(ARGS); fi
	edge="tests/flow/test_edge.py tests/flow/test_edge_away.py"
	ways="-o cache_dir=.pytest_cache/ways tests/flow $${edge//tests/--ignore=tests}"
	servers="-o cache_dir=.pytest_cache/servers tests/contract tests/chaos $$edge"
	alone="-o cache_dir=.pytest_cache/alone tests/unit tests/property tests/simulation"
	echo "── whole ways, which wait much; beside them other tests of servers, and all others, told at the end"
	logs=$$(mktemp -d)
	$$run $$servers >"$$logs/servers" 2>&1 & pids[1]=$$!
	nice $$run $$alone >"$$logs/alone" 2>&1 & pids[2]=$$!  # what only computes gives way to what looks at the clock
	trap 'kill $${pids[@]} 2>/dev/null || true; rm -rf "$$logs"' EXIT
	codes=(0 0 0)
	$$run $$ways || codes[0]=$$?
	wait $${pids[1]} || codes[1]=$$?
	wait $${pids[2]} || codes[2]=$$?
	echo "── other tests of servers"; cat "$$logs/servers"
	echo "── all others";             cat "$$logs/alone"
	# Two cores are few for servers, workers and browsers: what failed beside others has to pass alone.
	parts=("$$ways" "$$servers" "$$alone")
	for n in 0 1 2; do
		if [ $${codes[n]} -eq 1 ]; then
			echo "── once more and alone: what failed of $${parts[n]#* * }"
			codes[n]=0; $$run $${parts[n]} --lf --lfnf=none || codes[n]=$$?
		fi
	done
	exit $$((codes[0] + codes[1] + codes[2]))

.PHONY: ready
ready: # All that `make test` needs, side by side: whoever downloads waits for the network, and linters compute
	@$(MAKE) --no-print-directory -j5 --output-sync=target lint audit servers clients

.PHONY: audit
audit: .venv/.dev ## What is known against the packages that we pin
	@echo "── audit"; $(BIN)/python -m tests.audit

.PHONY: lint
lint: .venv/.dev ## ruff, formatting, mypy, and the directions of imports
	@echo "── ruff";         $(BIN)/ruff check .
	echo "── ruff format";   $(BIN)/ruff format --check .
	echo "── mypy";          $(BIN)/mypy
	echo "── lint-imports";  $(BIN)/lint-imports

.PHONY: chaos
chaos: .venv/.dev servers ## The long crash tests: kills, freezes and roll-backs on a real Kafka and a real Redis
	@$(BIN)/python -m tests.chaos $(ARGS)
	if [ -z "$(ARGS)" ]; then RECORDING_KILLS=20 $(BIN)/python -m pytest -q -s tests/flow/test_recordings.py -k killed; fi

.PHONY: bench
bench: .venv/.dev servers ## CPU and memory an event, ours and the peers', into benchmarks/out/results.json
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: servers
servers: # Java, redis-server, Kafka, a schema registry and promtool, where they are missing
	@$(PYTHON) tests/install_servers.py

.PHONY: clients
clients: # Other people's clients, Node, Chromium, where they are missing
	@$(PYTHON) tests/install_servers.py clients

.PHONY: lock
lock: # Pin anew, within the bounds of pyproject.toml (for maintainers; needs uv)
	@compile() { uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url "$$@"; }
	compile --extra build -o requirements.lock pyproject.toml
	compile --extra build --extra dev --extra bench -o requirements-dev.lock pyproject.toml
	compile -o tests/clients/requirements.lock tests/clients/requirements.in
	cd tests/clients && npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved

.PHONY: clean
clean: # Forget the environment, the servers and every cache
	find pipeline -name '_*.so' -delete
	rm -rf .venv .servers .clients tests/clients/node_modules build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# The environment. `.demo`: what a worker needs; `.dev`: what the checks need on top. The checkout itself is installed
# editable, without a look at any index: what builds it is in the lock. pip hides what a build prints, so
# hatch_build.py says itself what could not be compiled; for the checks, all has to be.

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, " + sys.executable + " is " + sys.version.split()[0])'
	$(PYTHON) -m venv .venv || { rm -rf .venv; echo "python3 -m venv failed: on Debian, apt-get install python3-venv" >&2; exit 1; }

.venv/.demo: .venv/bin/python requirements.lock pyproject.toml $(COMPILED)
	@echo "── installing what requirements.lock pins (half a minute, once)"
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-build-isolation --no-deps -e .
	$(BIN)/python hatch_build.py
	touch $@

.venv/.dev: .venv/bin/python requirements-dev.lock pyproject.toml $(COMPILED)
	@echo "── installing what requirements-dev.lock pins (a minute, once)"
	$(PIP) install --require-hashes -r requirements-dev.lock
	$(BIN)/python tests/install_servers.py compiler
	PIPELINE_REQUIRE_COMPILED=1 $(PIP) install --no-build-isolation --no-deps -e .
	touch .venv/.demo $@
