# Two commands on a fresh machine with Python >= 3.11: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo reproduce test test-slow faults soak check setup clean

help:
	@echo "make demo       train, score and show a DCGAN on the real MNIST"
	@echo "make reproduce  check every answer known without training, and train a MADE to its published number"
	@echo "make test       lint, types, doctests and tests"
	@echo "make test-slow  the tests that train for minutes"
	@echo "make faults     the short tests of faults, and docs/FAULTS.md anew"
	@echo "make soak       a thousand kills, ten thousand flips, every model: hours"
	@echo "make check      lint and types only"

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(not (3, 11) <= v < (3, 14) and f"Python 3.11 to 3.13 is needed, {v.major}.{v.minor} found; use make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --progress-bar on --editable ".[dev]"
	@touch $@

# Half precision is faster only where the processor has instructions for it.
PRECISION := $(shell grep -qsE 'amx_bf16|avx512_bf16' /proc/cpuinfo && echo bf16-mixed || echo 32-true)

demo: setup
	$(BIN)/lightning-gen train experiment=dcgan_mnist trainer.precision=$(PRECISION)

reproduce: setup
	$(BIN)/lightning-gen reproduce --tier minutes trainer.precision=$(PRECISION)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not slow" --durations=25

test-slow: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow

faults: setup
	OMP_NUM_THREADS=1 $(BIN)/python scripts/faults.py

# SOAK=100 SOAK_SECONDS=300 make soak: fewer kills, and less time of them.
soak: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/faults -m slow

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
