# Two commands do everything: `make demo` and `make test`. Both set up a virtual environment first.

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
SETTINGS := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test check results wheel consumers clean

help:  ## say what each command does
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/demo.stamp  ## run the main job on a small real model; prints where the report is
	$(BIN)/cofire demo

test: $(VENV)/dev.stamp  ## run all tests
	$(BIN)/pytest --numprocesses 2 --dist loadfile

check: $(VENV)/dev.stamp  ## lint, format, types and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

results: $(VENV)/demo.stamp  ## regenerate docs/results/gemma-3-270m.md
	$(BIN)/python benchmarks/gemma_results.py

wheel: $(VENV)/demo.stamp  ## build the wheel into dist/
	$(BIN)/pip wheel --no-deps --wheel-dir dist .

consumers:  ## set up environments of other tools, in which tests/exports opens exports
	$(PYTHON) -m venv .venv-delphi
	.venv-delphi/bin/pip install --quiet "torch<2.14" transformers datasets safetensors jaxtyping \
		sentence-transformers beartype
	.venv-delphi/bin/pip install --quiet --no-deps eai-delphi==0.1.3 eai-sparsify simple_parsing \
		docstring-parser fire blobfile aiofiles asyncer anyio orjson faiss-cpu termcolor
	$(PYTHON) -m venv .venv-sae_dashboard
	.venv-sae_dashboard/bin/pip install --quiet "torch<2.14" sae-dashboard==0.8.0 pyarrow==17.0.0

clean:  ## remove the virtual environments and build products
	rm -rf $(VENV) .venv-delphi .venv-sae_dashboard dist build

$(VENV)/demo.stamp: $(SETTINGS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[demo]"
	touch $@

$(VENV)/dev.stamp: $(SETTINGS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[demo,hub,sae,dev]"
	touch $@ $(VENV)/demo.stamp
