# Two commands do everything: `make demo` and `make test`. Both set up a virtual environment first.

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
SETTINGS := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test check results wheel clean

help:  ## say what each command does
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/demo.stamp  ## run the main job on a small real model; prints where the report is
	$(BIN)/cofire demo

test: $(VENV)/dev.stamp  ## run all tests
	$(BIN)/pytest

check: $(VENV)/dev.stamp  ## lint, format, types and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

results: $(VENV)/demo.stamp  ## regenerate docs/results/gemma-3-270m.md
	$(BIN)/python benchmarks/gemma_results.py

wheel: $(VENV)/demo.stamp  ## build the wheel into dist/
	$(BIN)/pip wheel --no-deps --wheel-dir dist .

clean:  ## remove the virtual environment and build products
	rm -rf $(VENV) dist build

$(VENV)/demo.stamp: $(SETTINGS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[demo]"
	touch $@

$(VENV)/dev.stamp: $(SETTINGS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[demo,hub,sae,dev]"
	touch $@ $(VENV)/demo.stamp
