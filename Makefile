# Everything a clone needs: Python 3.11 or newer, and make. No compiler.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
JOBS ?= 2

SOURCES := infini_ir tests benchmarks

ifneq ($(wildcard ../shared/data),)
export INFINI_TEST_DATA ?= $(abspath ../shared/data)
endif

.PHONY: help demo test lint docs matrix bench bench-models bench-kernels bench-compiler tables clean

help:
	@echo "make demo    compile a ResNet-50, run it, and compare it with onnxruntime"
	@echo "make test    all tests"
	@echo "make lint    ruff and pyright"
	@echo "make docs    write the reference pages again"
	@echo "make matrix  write docs/kernels.md again, from what the tests check"
	@echo "make bench   every model and kernel against other engines, and the tables of it"
	@echo "make tables  write the tables of README.md and docs/performance.md again"
	@echo "make clean   remove $(VENV) and what tests leave behind"

demo: $(VENV)/demo.stamp
	@$(BIN)/python -m infini_ir.demo

test: $(VENV)/dev.stamp
	$(BIN)/lit --quiet -j $(JOBS) tests/filecheck
	$(BIN)/python -m pytest -n $(JOBS) tests

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(VENV)/core.stamp
	$(BIN)/python -m infini_ir.tools.reference docs/reference

matrix: $(VENV)/dev.stamp
	rm -f checks.jsonl
	INFINI_CHECKS=$(abspath checks.jsonl) $(BIN)/python -m pytest -n $(JOBS) tests/devices tests/numeric/test_kernel_corpus.py
	$(BIN)/python -m tests.devices.checks checks.jsonl docs/kernels.md
	rm -f checks.jsonl

# A row that fails is shown as such, and does not keep the others from being shown.
bench: bench-models bench-kernels bench-compiler tables

bench-models: $(VENV)/bench.stamp
	-$(BIN)/python -m benchmarks.models --precision f32 --precision bf16 --precision int8 --precision int8-bf16

bench-kernels: $(VENV)/bench.stamp
	-$(BIN)/python -m benchmarks.products
	-$(BIN)/python -m benchmarks.kernels

bench-compiler: $(VENV)/bench.stamp
	-$(BIN)/python -m benchmarks.memory
	-$(BIN)/python -m benchmarks.tuning
	$(BIN)/python -m benchmarks.passes

tables: $(VENV)/core.stamp
	$(BIN)/python -m benchmarks.report

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find tests/filecheck -name Output -type d -prune -exec rm -rf {} +

$(VENV)/venv.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Infini IR needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1)." \
	       "Choose another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "Python's venv module is missing: sudo apt-get install python3-venv" >&2; exit 1; }
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# setuptools first: the build needs no environment of its own then, and its version is pinned.
$(VENV)/core.stamp: $(VENV)/venv.stamp constraints.txt pyproject.toml
	@echo "Installing Infini IR and what it needs"
	@$(PIP) setuptools
	@$(PIP) --no-build-isolation --editable .
	@touch $@

$(VENV)/demo.stamp: $(VENV)/core.stamp
	@echo "Installing onnxruntime, which the demo compares with"
	@$(PIP) onnxruntime
	@touch $@

# PyTorch first, by its exact version, so that no other package chooses another one.
$(VENV)/dev.stamp: $(VENV)/core.stamp
	@echo "Installing PyTorch and the tools of the tests"
	@$(PIP) torch==2.13.0
	@$(PIP) --no-build-isolation --editable '.[dev]'
	@$(PIP) 'pyright[nodejs]'
	@touch $@

$(VENV)/bench.stamp: $(VENV)/dev.stamp
	@echo "Installing the engines to compare with"
	@$(PIP) --no-build-isolation --editable '.[bench]'
	@touch $@
