# Two commands: `make demo`, `make test`. Everything is installed into .venv, pinned by constraints.txt.
# An installed torch (a CUDA build, say) can be used instead of the pinned CPU-capable one: make demo USE_INSTALLED_TORCH=1

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
USE_INSTALLED_TORCH ?=
FUZZ_COUNT ?= 1000000
STAMP := $(VENV)/.installed

ifdef USE_INSTALLED_TORCH
VENV_FLAGS := --system-site-packages
CONSTRAINTS := $(VENV)/constraints.txt
else
CONSTRAINTS := constraints.txt
endif

.PHONY: demo test check docs bench proof fuzz clean install

demo: install
	$(BIN)/rectifier demo

test: install
	$(BIN)/python -m pytest -q -m "not proof" -n 2 --dist worksteal

check: install
	$(BIN)/ruff format --check src tests benchmarks examples docs
	$(BIN)/ruff check src tests benchmarks examples docs
	$(BIN)/mypy
	$(BIN)/lint-imports

# Into docs/site; what it needs is installed by nothing else.
docs: install
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[docs]'
	$(BIN)/python docs/generate.py
	$(BIN)/zensical build --strict --clean --config-file docs/zensical.toml

bench: install
	for benchmark in benchmarks/*.py; do $(BIN)/python $$benchmark || exit 1; done

proof: install
	$(BIN)/python -m pytest -q -m proof

# Hours: a million damaged files for each reader. Numbers of those that hurt are printed, to be made again by --show.
fuzz: install
	for reader in runs comparisons checkpoints; do $(BIN)/python -m tests.fuzz $$reader $(FUZZ_COUNT) || exit 1; done

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV_FLAGS) $(VENV)
ifdef USE_INSTALLED_TORCH
	@$(BIN)/python -c "import torch" 2>/dev/null || { rm -rf $(VENV); echo "$(PYTHON) has no torch installed: name one that has, make demo USE_INSTALLED_TORCH=1 PYTHON=..."; exit 1; }
	grep -v '^torch==' constraints.txt > $(VENV)/constraints.txt
else
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) torch
endif
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[demo,dev]'
	@touch $(STAMP)

clean:
	rm -rf $(VENV) dist build docs/site docs/pages/generated .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
