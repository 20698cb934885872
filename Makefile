SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# What the benchmarks compare with needs Python 3.11 and packages that would not go together with ours.
PEERS ?= .venv-peers
PEERS_PYTHON ?= python3.11

.PHONY: help quickstart test slow families unseen wishes storm properties lint bench catalogues estimates throughput clean

help:
	@echo "make quickstart   install, then ten films for user 42"
	@echo "make test         install, then the tests"
	@echo "make slow         the tests that take minutes"
	@echo "make families     every causal family of transformers through the backbone, as a table"
	@echo "make unseen       people whom no training saw, beside the same people trained on; some 30 minutes"
	@echo "make wishes       held-out items found by words that nobody read of them; some 20 minutes"
	@echo "make storm        kills, failing and full disks, flipped bits; some 20 minutes"
	@echo "make properties   readers of files and recipes, twenty thousand drawn examples each"
	@echo "make lint         ruff and mypy"
	@echo "make bench        every step timed beside its peer; some 20 minutes"
	@echo "make catalogues   seconds and memory at 10,000 to 1,000,000 items; some 20 minutes"
	@echo "make estimates    what --dry-run says of memory beside what stages take; some 20 minutes"
	@echo "make throughput   tokens/s of stages 2 and 3 beside transformers alone; some 30 minutes"
	@echo "make clean        remove what make made; runs and datasets stay"

quickstart: $(VENV)/.installed
	$(BIN)/glta recommend --user 42 --recipe quickstart

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow" -n 2 --dist loadgroup

slow: $(VENV)/.installed-dev
	$(BIN)/pytest -m slow

families: $(VENV)/.installed-dev
	$(BIN)/pytest -m slow -s tests/plugins/test_backbones_families.py

unseen: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow -s tests/answers/test_people_never_seen.py

wishes: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow -s tests/answers/test_wishes_help.py

storm: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow -s tests/reliability

properties: $(VENV)/.installed-dev
	$(BIN)/pytest -m slow tests/plugins/test_datasets_properties.py tests/recipe/test_arbitrary_recipes.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

catalogues: $(VENV)/.installed-dev
	$(BIN)/python tests/benchmarks/large_catalogue.py

bench: $(VENV)/.installed-bench $(PEERS)/.installed
	$(BIN)/python tests/benchmarks/run.py --peers $(PEERS)/bin/python

estimates: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/estimates.py

throughput: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/throughput.py

clean:
	rm -rf $(VENV) $(PEERS) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One line a package: pip alone prints several, and nothing at all with --quiet.
PIP_INSTALL = $(BIN)/python -m pip install --constraint constraints.txt --editable
SHORTLY = grep --line-buffered -E '^ *(Collecting|Downloading|Installing|Successfully)' | cut -c 1-100

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP_INSTALL) '.[serve]' | $(SHORTLY)
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP_INSTALL) '.[dev]' | $(SHORTLY)
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: $(VENV)/.installed-dev
	$(PIP_INSTALL) '.[dev,bench]' | $(SHORTLY)
	@touch $@

$(PEERS)/.installed: tests/benchmarks/peers.txt
	$(PEERS_PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --requirement tests/benchmarks/peers.txt | $(SHORTLY)
	@touch $@
