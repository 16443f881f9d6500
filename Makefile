# `make help` lists the targets. demo, test, check and bench each work alone on a fresh checkout.

PYTHON ?= python3.11
TORCH_ARGS ?=
PYTEST_ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
PRODUCT := .venv-product
CODE := $(wildcard attendance benchmarks demo lab tests tools *.py)

# Files that Python compiles at first import are kept: the packages are installed uncompiled, to be quick.
export PYTHONDONTWRITEBYTECODE :=

# Tests run in three processes (many of them wait for servers), files kept together, on one thread a library in each,
# whatever the machine has: sums round the same way everywhere, and torch, numba, OpenBLAS and OpenMP do not start pools
# of all cores that fight for them.
THREADS := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1
PYTEST := $(PY) -m pytest -n 3 --dist loadfile

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo '  PYTHON=python3.11 names the interpreter, TORCH_ARGS="..." adds options for pip when it gets torch.'

.PHONY: setup
setup: $(VENV)/installed ## make .venv with everything (a few minutes at first, nothing after)

.PHONY: demo
demo: setup ## enrol sample people, play a walk-past, print the attendance
	$(PY) -m demo

.PHONY: test
test: setup ## run the tests (PYTEST_ARGS="..." adds options)
	$(THREADS) $(PYTEST) $(PYTEST_ARGS)

# The tests come last, so that the output ends with their summary line. What is before them keeps two cores busy.
.PHONY: check
check: setup ## everything that a change must pass: lint, types, imports, product alone, tests
	@$(MAKE) --no-print-directory -j 2 --output-sync=target types check-product lint imports collected
	$(THREADS) $(PYTEST) --allowed-skips tests/allowed_skips.txt $(PYTEST_ARGS)

.PHONY: lint
lint: setup ## ruff: lint and format, nothing is changed
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

.PHONY: format
format: setup ## ruff: put right what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

.PHONY: types
types: setup ## mypy --strict
	$(PY) -m mypy $(CODE)

.PHONY: imports
imports: setup ## the import directions of pyproject.toml
	$(VENV)/bin/lint-imports --no-cache

# Python compiles here, once, what three processes of tests would each compile at their start.
.PHONY: collected
collected: setup
	@$(PY) -m pytest --collect-only -qq > /dev/null

.PHONY: check-product
check-product: $(PRODUCT)/installed ## the demo on what a container installs: product.lock, without lab and development
	$(PRODUCT)/bin/python -m demo

.PHONY: bench
bench: setup ## run the benchmarks
	$(PY) -m benchmarks

.PHONY: lock
lock: setup ## make requirements/*.lock anew from requirements/*.in
	$(PY) -m tools.lock

.PHONY: secrets
secrets: ## write the secrets that docker-compose.yml asks for, once (KIOSK_HOST=name of this server for the kiosks, MONGO_TLS=1)
	@$(PYTHON) -m tools.container_secrets $(if $(KIOSK_HOST),--kiosk-host '$(KIOSK_HOST)') $(if $(MONGO_TLS),--mongo-tls)

.PHONY: clean
clean: ## remove caches
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find attendance benchmarks demo lab tests tools -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

.PHONY: distclean
distclean: clean ## remove caches and environments
	rm -rf $(VENV) $(PRODUCT)

$(VENV)/installed: requirements/all.lock
# The product's environment is made of the same files, which takes seconds.
$(PRODUCT)/installed: requirements/product.lock $(VENV)/installed
$(PRODUCT)/installed: private LIKE := --like $(VENV)

# One environment: it is up to date when its stamp is younger than the lock, the constraints and the script.
%/installed: constraints.txt tools/environment.py
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	  echo 'setup: expected Python 3.11 (or 3.12, 3.13) as $(PYTHON), found none; install it, or name it: make setup PYTHON=/path/to/python3.11' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo 'setup: expected $(PYTHON) to have venv and ensurepip, it lacks them; install them (Debian: apt install python3.11-venv)' >&2; exit 1; }
	@$(PYTHON) tools/environment.py $* $(filter %.lock,$^) --torch-args='$(TORCH_ARGS)' $(LIKE)
	@touch $@
