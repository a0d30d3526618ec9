.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
PEERS := $(basename $(notdir $(wildcard requirements/peers/*.txt)))

.PHONY: help setup setup-dev demo run test check format bench lock clean

.SECONDARY:

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

.venv/setup.stamp: requirements/demo.txt pyproject.toml sdk/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/demo.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --config-settings editable_mode=compat -e . -e sdk
	@touch $@

.venv/setup-dev.stamp: .venv/setup.stamp requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

# Every peer has an environment of its own: what they pin would not fit into one.
build/peers/%/setup.stamp: requirements/peers/%.txt
	@test -x build/peers/$*/bin/python || $(PYTHON) -m venv build/peers/$*
	build/peers/$*/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

setup: .venv/setup.stamp ## make .venv and install the locked requirements

setup-dev: .venv/setup-dev.stamp ## the same, with what tests and checks need

demo: setup ## the embedded stack on port 8080 with two trained models
	@$(BIN)/python -m demo

run: setup ## the embedded stack without demo data
	@$(BIN)/tollwayd up --port 8080 --data data

test: setup-dev build/peers/mlserver/setup.stamp ## the whole suite, real servers included
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: setup-dev ## lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup-dev ## format and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup-dev $(PEERS:%=build/peers/%/setup.stamp) ## requests per CPU-second and latency beside the peers
	@$(BIN)/python -m benchmarks
	@$(BIN)/python -m benchmarks.policies
	@$(BIN)/python -m benchmarks.admission
	@$(BIN)/python -m benchmarks.shadowing --rounds 5
	@$(BIN)/python -m benchmarks.explaining
	@$(BIN)/python -m benchmarks.beside --rounds 2
	@$(BIN)/python -m benchmarks.route_changes --changes 200
	@$(BIN)/python -m benchmarks.contract

lock: ## compile the requirement files again
	@test -x build/lock-venv/bin/uv || ($(PYTHON) -m venv build/lock-venv && build/lock-venv/bin/pip install --quiet uv)
	cd requirements && sh lock.sh ../build/lock-venv/bin/uv

clean: ## remove what the other targets made
	rm -rf build .venv
