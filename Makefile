# Everything a fresh machine needs: Python 3.11 to 3.13 with venv, make, and a package registry.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SIGHTLINE_SOAK_S ?= 3600

.PHONY: help setup demo test faults soak check check-deploy format clean

help:  ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: $(READY)  ## Create .venv and install what was tested

$(READY): pyproject.toml constraints.txt
	@echo "== creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@echo "== installing Sightline and what it needs (torch is large: some minutes, about 5 GB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all]'
	@touch $(READY)
	@echo "== ready: $(BIN)/sightline --help"

demo: $(READY)  ## Run the whole line on this machine, in about a minute
	@$(BIN)/sightline demo

# Three at a time, also on two cores: many of them wait for a process, a socket or a clock.
test: $(READY)  ## Run all tests
	@echo "== running the tests"
	@$(BIN)/python -m pytest -n 3 --dist loadfile

faults: $(READY)  ## Break the line in every way we know, again and again
	@echo "== running the fault suite in its long form"
	@SIGHTLINE_FAULTS=long $(BIN)/python -m pytest --timeout 1200 tests/faults

soak: $(READY)  ## Load the line for SIGHTLINE_SOAK_S seconds, an hour by default: nothing may grow
	@echo "== loading the line for $(SIGHTLINE_SOAK_S) s"
	@$(BIN)/sightline bench soak --seconds $(SIGHTLINE_SOAK_S)

check-deploy: $(READY)  ## Try the files in deploy/ with systemd-analyze, promtool and redis-server
	@echo "== deploy files (what is skipped says which tool is missing)"
	@$(BIN)/python -m pytest -rs tests/deploy

check: $(READY)  ## Lint, types, import directions
	@echo "== ruff"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo "== mypy --strict"
	@$(BIN)/mypy
	@echo "== import directions"
	@$(BIN)/python -m pytest tests/test_imports.py

format: $(READY)  ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:  ## Remove .venv and everything built
	rm -rf $(VENV) dist sightline-demo .mypy_cache .pytest_cache .ruff_cache .hypothesis
