# Every target that needs Python makes .venv and installs the tested versions first, once.
# Another Python: make test PYTHON=python3.13

PYTHON ?= $(shell for name in python3.11 python3.12 python3.13; do command -v $$name && exit; done; echo python3)
VENV := .venv
BIN := $(VENV)/bin

# How tests are spread over the cores. The processes must agree on names of tests, and some are made of sets.
SPREAD := -n auto --maxprocesses 8 --dist worksteal

# Where the quickstart writes its data and its run.
SHAPES := data/shapes
RUN := runs/shapes-tiny
# A process a core; with a card, one.
PROCESSES ?= $(if $(shell command -v nvidia-smi),1,2)
NEW_WORLD := --data data/shapes-new/val.json --image_folder data/shapes-new/images

.DEFAULT_GOAL := help
.PHONY: help install quickstart test test-fast test-slow parity lint format bench docs docs-serve constraints clean

help:  ## show this list
	@awk -F ':.*## *' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "mustela needs Python 3.11 to 3.13; try: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# One stamp an extra, so that the quickstart doesn't install the developers' tools.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-%: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$*]"
	@touch $@

install: $(VENV)/.installed  ## make .venv and install mustela in it

quickstart: $(VENV)/.installed  ## train a model from nothing, then teach the packaged one a new world
	$(BIN)/mustela data shapes --out $(SHAPES) --train 4000 --val 120 --seed 0
	$(BIN)/mustela train shapes-tiny --num_processes $(PROCESSES) --output_dir $(RUN)
	$(BIN)/mustela data shapes --world new --out data/shapes-new --train 1500 --val 40 --seed 0
	$(BIN)/mustela evaluate shapes-base $(NEW_WORLD) --out runs/shapes-new-before
	$(BIN)/mustela train shapes-new --num_processes $(PROCESSES)
	$(BIN)/mustela evaluate runs/shapes-new $(NEW_WORLD) --out runs/shapes-new/after --compare runs/shapes-new-before
	@echo "What a model learned from nothing: $(RUN)/report.html"
	@echo "Before and after two minutes of tuning: runs/shapes-new/after/compare.html"

test: test-fast test-slow lint  ## the fast suite, the slow one, then lint

test-fast: $(VENV)/.installed-dev  ## the tests that take under three minutes together
	PYTHONHASHSEED=0 $(BIN)/python -m pytest -m "not slow" $(SPREAD)

test-slow: $(VENV)/.installed-dev  ## the others
	PYTHONHASHSEED=0 $(BIN)/python -m pytest -m slow $(SPREAD)

# MUSTELA_LLAMA_TOKENIZER names Llama's tokenizer.model; without it the table is shown but docs/parity.md is left.
parity: $(VENV)/.installed-dev  ## compare with numbers of the original, write the table into docs/parity.md
	$(BIN)/python -m pytest -q tests --parity docs/parity.md

lint: $(VENV)/.installed-dev  ## style, format, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.installed-dev  ## repair what can be repaired by itself
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev  ## measure what is fast
	set -e; for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script; done

docs: $(VENV)/.installed-docs  ## build the documentation into site/, strictly and without network
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: $(VENV)/.installed-docs  ## look at the documentation while writing it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

constraints: $(VENV)/.installed-dev $(VENV)/.installed-docs  ## write the versions in .venv to constraints.txt
	{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --exclude mustela --exclude-editable \
		| sed 's/+[a-z0-9.]*$$//'; } > constraints.new && mv constraints.new constraints.txt

clean:  ## remove what was built, not data/ and runs/
	rm -rf build dist site .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	rm -f $(VENV)/.installed*
