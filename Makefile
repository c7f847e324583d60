# `make help` lists the commands.
PYTHON ?= python3
VENV := .local/venv/bin

.DEFAULT_GOAL := help
# Otherwise each process compiles the packages that it imports: `import pulumi` takes four times as long.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help setup demo shell env down test test-unit mutants lint format reference bench policies lock .local/venv

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 14 | sed 's/\$$\$$/$$/'

setup: ## install and start everything for the local run
	@$(PYTHON) -m local setup

demo: ## deploy both stacks on this machine, without AWS, and call GET /hello
	@$(PYTHON) -m local demo

shell: ## open a shell in which `pulumi` uses the local cloud
	@$(PYTHON) -m local shell

env: ## print the variables of `make shell`: eval "$$(make env)"
	@$(PYTHON) -m local env

down: ## destroy both stacks, and stop the local cloud
	@$(PYTHON) -m local down

test: ## install everything for the tests, run lint and all tests, and measure coverage
	@$(PYTHON) -m local test

bench: ## run the measurements (half an hour); ARGS="--help" lists them
	@$(PYTHON) -m local bench $(ARGS)

# Given tests/unit, the process that only starts the workers would import its conftest.py too, and with it Pulumi.
# Plugins of Hypothesis import trio.
test-unit: .local/venv ## the unit tests of the program alone, in seconds
	@HYPOTHESIS_NO_PLUGINS=1 $(VENV)/python -m pytest -n auto --dist worksteal --ignore tests/engine --ignore tests/local

mutants: .local/venv ## run the mutation tests (15 minutes); ARGS="--help" lists options
	@PYTHONPATH=. $(VENV)/python scripts/mutants.py $(ARGS)

lint: .local/venv ## run ruff, and mypy --strict
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(VENV)/mypy

format: .local/venv ## fix and format with ruff
	@$(VENV)/ruff check --fix .
	@$(VENV)/ruff format .

reference: .local/venv ## write docs/reference.md and the keys of Pulumi.yaml from the models
	@PYTHONPATH=. $(VENV)/python scripts/reference.py

policies: .local/venv ## write docs/policies/ from the table in scripts/permissions.py
	@PYTHONPATH=. $(VENV)/python scripts/permissions.py

lock: .local/venv ## pin the dependencies with hashes, and the Python packages of the base image
	@$(VENV)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml -o requirements.txt
	@$(VENV)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header requirements-dev.in -o requirements-dev.txt
	@$(VENV)/uv pip compile --quiet --no-deps --python-version 3.11 --generate-hashes --no-header --no-annotate policy_pack/requirements.in -o policy_pack/requirements.txt
	@$(VENV)/uv pip compile --quiet --python-version 3.13 --generate-hashes --no-header --no-annotate offline/base_image/requirements.in -o offline/base_image/requirements.txt
	@$(VENV)/uv pip compile --quiet --python-version 3.13 --generate-hashes --no-header --no-annotate examples/web-framework/requirements.in -o examples/web-framework/requirements.txt

.local/venv:
	@$(PYTHON) -m local venv
