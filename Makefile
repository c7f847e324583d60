# Every command of the README. `make help` lists them.
PYTHON ?= python3
VENV := .local/venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo shell env down test test-unit test-engine lint format lock

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 14

setup: ## install and start what the local run needs
	@$(PYTHON) -m local setup

demo: ## both stacks on this machine, without AWS: deploy, call GET /hello, stay up
	@$(PYTHON) -m local demo

shell: ## a shell in which `pulumi` works against the local cloud
	@$(PYTHON) -m local shell

env: ## the same as export lines: eval "$$(make env)"
	@$(PYTHON) -m local env

down: ## destroy both stacks, stop what was started
	@$(PYTHON) -m local down
