# make demo   install, then listen to a neuron          make lint    ruff and import-linter
# make test   the tests                                 make types   mypy
# make docs   the manual, into build/site               make bench   the numbers, printed
# make check  lint and types                            make clean   remove .venv, build and caches
# make findings   measure the manual's page of findings again, on the recordings of ../shared/data
# make dictionary   train the small sparse dictionary of the tutorial and the web demo, in a few minutes

PYTHON ?= python3
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := demo
.DELETE_ON_ERROR:
.NOTPARALLEL:

BIN := .venv/bin

.PHONY: demo dictionary test check lint types docs findings bench clean

demo: .venv/.run
	@$(BIN)/wspy analyze neuron --layer 2 --idx 3

dictionary: .venv/.run
	@if $(BIN)/wspy sae show demo >/dev/null 2>&1; then $(BIN)/wspy sae remove demo; fi
	@$(BIN)/wspy sae train --name demo --site encoder.blocks.2 --corpus demo --width 4x --k 32 --steps 1000

# Two workers with one thread each: torch would otherwise take every core for every worker.
test: .venv/.dev
	@OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

check: lint types

lint: .venv/.dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports --no-logo

types: .venv/.dev
	@$(BIN)/mypy

docs: .venv/.dev
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "The manual is in build/site/index.html"

findings: .venv/.dev
	@$(BIN)/python docs/gen/findings/measure.py ../shared/data
	@$(BIN)/python docs/gen/findings/collect.py

bench: .venv/.dev
	@$(BIN)/python benchmarks/run.py

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment is up to date until pyproject.toml or constraints.txt change.
.venv/.run: EXTRAS := offline
.venv/.dev: EXTRAS := offline base hub words web train dev exchange docs

.venv/.run .venv/.dev: pyproject.toml constraints.txt | .venv/bin/python
	@$(BIN)/python .ci/install.py $(EXTRAS)
	@touch .venv/.run $@

.venv/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "wspy needs Python 3.11 or newer: install it, or name yours with 'make PYTHON=...'." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"wspy needs Python 3.11 or newer, and {sys.executable} is {v[0]}.{v[1]}: name another with: make PYTHON=...")'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv: install it (on Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@$(PYTHON) -m venv .venv
