# The front door. `make` says what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PYTEST_JOBS ?= 2
PYTEST_ARGS ?=
SOURCES := $(wildcard src tests cli demo benchmarks tools setup.py)

export PYTHONUTF8 := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help install demo test test-matrix lint format bench bench-large engines lock clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv with dbtool in it; on Debian, as root or with sudo, what else is missing too
	@echo "dbtool is installed: $(BIN)/dbtool --help"

$(INSTALLED): requirements-dev.lock requirements-demo.lock pyproject.toml setup.py $(wildcard src/dbtool/rows/*.[ch])
	@PYTHON="$(PYTHON)" tools/install-system.sh
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing dbtool into $(VENV)"
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python tools/check_install.py || $(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements-demo.lock
	@touch $@

demo: $(INSTALLED) ## Show all of it on a PostgreSQL and a MariaDB of its own: backup, damage, restore, comparison
	@$(BIN)/python -m demo $(DEMO_ARGS)

test: $(INSTALLED) ## Run the tests, on real servers that they start themselves
	@$(BIN)/python -m pytest -n $(PYTEST_JOBS) -m "not matrix and not slow" $(PYTEST_ARGS)

test-matrix: $(INSTALLED) engines ## Run the tests that need PostgreSQL 13, 15, 17 and 18, and the slow ones
	@DBTOOL_TEST_ENGINES="$$(tools/engines.sh --directory)" DBTOOL_REQUIRE_MATRIX=1 \
		$(BIN)/python -m pytest -n $(PYTEST_JOBS) -m "matrix or slow" $(PYTEST_ARGS)

engines: ## Fetch PostgreSQL 13 to 18, MariaDB 10.5 to 11.8 and MySQL 9.7 for the tests, beside the system
	@test -d /usr/lib/postgresql/15 || tools/engines.sh pg15
	@/usr/sbin/mariadbd --version 2>/dev/null | grep -q 'Ver 10\.11\.' || tools/engines.sh mariadb1011
	@tools/engines.sh pg13 pg17 pg18 mariadb105 mariadb118 mysql97

lint: $(INSTALLED) ## Check style and types
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/mypy

format: $(INSTALLED) ## Lay the code out as lint wants it
	@$(BIN)/ruff check --fix $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

bench: $(INSTALLED) ## Measure dbtool beside the tools of PostgreSQL and MariaDB, in one run
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

bench-large: $(INSTALLED) ## Measure the memory that dbtool needs for 10 GB; takes 48 GB of disk for a while
	@$(BIN)/python -m benchmarks --large $(BENCH_ARGS)

lock: $(INSTALLED) ## Write the locked requirements anew from pyproject.toml
	@tools/lock.sh

clean: ## Remove what was built and installed here
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src -name '_rows*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
