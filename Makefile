# One place for the commands of a working day. `make help` lists them.

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python -m
# Stamps: installed again when pyproject.toml has changed, and only then.
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help demo test slow check format bench docs clean

help:  ## List the commands.
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED)  ## From nothing to a report: set up, find a model for handwritten digits.
	@$(VENV)/bin/tenfold fit digits

test: $(INSTALLED_DEV)  ## Run the tests and doctests, but for the slow ones.
	$(RUN) pytest -m "not slow"

slow: $(INSTALLED_DEV)  ## Run the slow tests: full products, hundreds of random modules (minutes).
	$(RUN) pytest -m slow

check: $(INSTALLED_DEV)  ## Formatting, lint and types.
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy

format: $(INSTALLED_DEV)  ## Format the code, and mend what lint can mend.
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

bench: $(INSTALLED)  ## Run the benchmarks, one after another (minutes; leave the machine alone meanwhile).
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(VENV)/bin/python "$$script"; done

docs: $(INSTALLED)  ## Write the pages of docs/ that are made from the code.
	$(VENV)/bin/python docs/make_spaces.py
	$(VENV)/bin/python docs/make_stacking.py

clean:  ## Remove the virtual environment and all caches; runs/ stays.
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- set-up ----------------------------------------------------------------------------------------------------

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "tenfold needs Python 3.11 or newer, and $(PYTHON) is not." \
			"Name one that is: make demo PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# Linked to the sources, so that `make demo` runs the code as it is now.
$(INSTALLED): pyproject.toml | $(VENV)/bin/pip
	@echo "Installing tenfold and PyTorch into $(VENV): once, a few minutes and some gigabytes."
	@$(RUN) pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(INSTALLED_DEV): pyproject.toml | $(VENV)/bin/pip
	@echo "Installing tenfold, PyTorch and the tools for tests into $(VENV): once, a few minutes and some gigabytes."
	@$(RUN) pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(INSTALLED)
