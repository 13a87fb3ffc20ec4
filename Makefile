# CraftBench. `make help` lists the targets; `make reproduce` and `make test` do all the set-up they need.
#
# Needs python3 >= 3.11 with venv, and make. Options:
#   PYTHON=python3.12                                      another interpreter for the virtual environment
#   VENV=.venv                                             where the virtual environment goes
#   TORCH_INDEX=https://download.pytorch.org/whl/cpu       a smaller torch, without CUDA
#   ARGS="--profile standard"                              more options for `craftbench reproduce all`, or for pytest

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq
PINNED := -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
# One core per process: the tests start processes of their own, and the digits of a sum do not depend on the machine.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest

# What goes into the wheel. Folders are listed too, so that a deleted file counts as a change.
SOURCES := pyproject.toml README.md LICENSE $(wildcard *.py) $(shell find commands core datasets models methods baselines benchmarks report \
	results/published results/reference -not -name '*.pyc' -not -name __pycache__ 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help reproduce test check soak bench dev editable clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

reproduce: $(VENV)/.package  ## every paper in the quick profile: verdicts, tables, report
	@$(BIN)/craftbench reproduce all $(ARGS)

test: $(VENV)/.test-tools  ## the test suite, against the installed wheel
	@$(PYTEST) -m "not soak" -q $(ARGS)

soak: $(VENV)/.test-tools  ## long kill and fuzz tests
	@$(PYTEST) -m soak -q $(ARGS)

bench: $(VENV)/.bench-tools  ## speed comparisons
	@MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=1073741824 $(PYTEST) bench -q $(ARGS)  # as workers have it

check: $(VENV)/.check-tools  ## lint, format, types, import floors
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright --pythonpath $(BIN)/python
	@$(BIN)/lint-imports

dev:  ## an editable install with every tool in .venv-dev, for working on the code
	@$(MAKE) --no-print-directory VENV=.venv-dev editable

editable: $(VENV)/.python
	@echo "installing craftbench from this folder, with every tool"
	@$(PIP) install $(PINNED) --no-build-isolation --editable ".[llm,ray,postgresql,dev,bench,check]"
	@echo "activate it with: . $(BIN)/activate"

clean:  ## remove the virtual environment and build leftovers; results/ stays
	@rm -rf $(VENV) .venv-dev build dist craftbench.egg-info .hypothesis .benchmarks .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: each is newer than what it was made from, so that a second call of a target does no work.

$(VENV)/.python: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "CraftBench needs Python 3.11 or newer; give one with PYTHON=..."; exit 2; }
	@test -x $(BIN)/python || { echo "making a virtual environment in $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@$(PIP) install $(PINNED) setuptools
	@touch $@

# A build folder that an earlier version left behind would slip deleted modules into the wheel.
$(VENV)/.wheel: $(VENV)/.python $(SOURCES)
	@rm -rf build craftbench.egg-info $(VENV)/wheel
	@$(PIP) wheel --no-deps --no-build-isolation --wheel-dir $(VENV)/wheel .
	@rm -rf build craftbench.egg-info
	@touch $@

$(VENV)/.package: $(VENV)/.wheel
	@echo "installing craftbench and its pinned dependencies (minutes the first time)"
	@$(PIP) install $(PINNED) $(VENV)/wheel/craftbench-*.whl
	@$(PIP) install --no-deps --force-reinstall $(VENV)/wheel/craftbench-*.whl
	@touch $@

$(VENV)/.test-tools: $(VENV)/.package
	@echo "installing the pinned test tools"
	@$(PIP) install $(PINNED) "craftbench[llm,ray,postgresql,dev]"
	@touch $@

$(VENV)/.bench-tools: $(VENV)/.test-tools
	@echo "installing what the benchmarks race against"
	@$(PIP) install $(PINNED) "craftbench[bench]"
	@touch $@

$(VENV)/.check-tools: $(VENV)/.test-tools
	@$(PIP) install $(PINNED) "craftbench[check]"
	@touch $@
