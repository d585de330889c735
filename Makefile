# Everything runs in a virtual environment of its own; nothing outside this folder is touched except the user's cache
# of model weights (see `whenwhere models`). Variables: PYTHON (the interpreter that makes the environment), VENV (where
# it is), JOBS (test processes), PYTEST_ARGS (handed to pytest), DEMO_OUT (where the demo writes).

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
PYTEST_ARGS ?=
DEMO_OUT ?= demo_out

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# One torch thread in each test process: two of them share two cores, and sums come out the same on every machine.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.NOTPARALLEL:
.PHONY: help demo test lint format bench reproduce clean distclean
.DEFAULT_GOAL := help

help:
	@echo "make demo       describe a real video: sets everything up, ends with the path of a report"
	@echo "make test       all tests"
	@echo "make lint       ruff, ruff format and mypy, as a change has to pass them"
	@echo "make format     let ruff mend what it can"
	@echo "make bench      measurements, written to benchmarks/results"
	@echo "make reproduce  published claims at small scale, written to reproductions/results"
	@echo "make clean      remove what these commands made; make distclean also removes $(VENV)"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python 3.10 or newer is needed; run: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "no virtual environment could be made; on Debian and Ubuntu run: apt install python3-venv"; exit 1; }

# A stamp for each set of packages: they are installed again when pyproject.toml changes, and not otherwise.
$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	@echo "installing packages into $(VENV); the first time this takes minutes, most of it PyTorch"
	$(PIP) install --quiet --editable '.[$*]'
	@touch $@

.PRECIOUS: $(VENV)/.installed-%

demo: $(VENV)/.installed-demo
	$(BIN)/whenwhere models fetch
	$(BIN)/python -m whenwhere.recipes.demo --out $(DEMO_OUT)

test: $(VENV)/.installed-test
	$(BIN)/whenwhere models fetch
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-test
	$(BIN)/whenwhere models fetch
	@set -e; for script in benchmarks/[!_]*.py; do echo "== $$script"; $(BIN)/python $$script; done

reproduce: $(VENV)/.installed-test
	$(BIN)/whenwhere models fetch
	@set -e; for script in reproductions/[!_]*.py; do echo "== $$script"; $(BIN)/python $$script; done

clean:
	rm -rf $(DEMO_OUT) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks reproductions -name __pycache__ -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
