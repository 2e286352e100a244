# demo   install, then train PPO over seeds and learning rates: a table, a picture and a GIF
# test   the test suite without the slow tests (`make test ARGS="-m slow"` runs those), in WORKERS=2 processes
# check  format, lint, types, import direction, doctests, notebooks
# bench  the comparisons under experiments/compare
# clean  delete what the other targets made, `.venv` and results under `runs/` excepted
.PHONY: demo test check bench clean venv
.DEFAULT_GOAL := help

PYTHON ?= python3
WORKERS ?= 2
ARGS ?=
BIN := .venv/bin
export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.cache/jax

help:
	@sed -n '/^#/!q; s/^# /make /p' Makefile

demo: .venv/core
	$(BIN)/python -m experiments.demo

test: .venv/dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

check: .venv/dev
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --quiet --import-mode=append --doctest-modules envs jaxrl experiments
	QUICK=1 $(BIN)/python -m pytest --quiet --nbmake notebooks

bench: .venv/core
	set -e; for script in experiments/compare/[a-z]*.py; do \
	  echo "== $$script"; $(BIN)/python -m experiments.compare.$$(basename $$script .py); done

clean:
	rm -rf .cache .pytest_cache .ruff_cache .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

venv: .venv/dev

# A stamp an install: `core` is what users get, `dev` adds the tools. Either is made again when what it read changes.
.venv/core: EXTRAS :=
.venv/dev: EXTRAS := [dev]
.venv/core .venv/dev: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "jaxrl needs Python 3.11 or newer; name one with \`make PYTHON=python3.12 ...\`" >&2; exit 1; }
	@echo "installing jaxrl$(EXTRAS) into .venv"
	@if command -v uv >/dev/null 2>&1; then \
	  { test -x $(BIN)/python || uv venv --quiet --python "$$(command -v $(PYTHON))" .venv; } && \
	  uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable ".$(EXTRAS)"; \
	else \
	  { test -x $(BIN)/pip || $(PYTHON) -m venv .venv; } && \
	  $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input \
	    --constraint constraints.txt --editable ".$(EXTRAS)"; \
	fi
	@touch $@
