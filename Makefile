# The commands of this project. Each installs what it needs and is missing.
.DEFAULT_GOAL := help
SHELL := bash
PYTHON := .venv/bin/python
ARGS ?=
# One worker a core; tests that share a kernel resource are grouped (xdist_group), and the groups start in the order of
# tests/conftest.py: the longest first, or one worker would be left with it.
WORKERS ?= $(shell nproc)

.PHONY: help setup demo test check bench wire format

help:                      ## list the commands
	@grep -E '^[a-z]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

setup:                     ## install what is missing
	@deploy/setup.sh test

demo:                      ## the main job from sign-in to masked rows; ARGS=--once ends by itself
	@deploy/setup.sh run
	@$(PYTHON) deploy/demo.py $(ARGS)

test: setup                ## every test, real BPF included
	@$(PYTHON) -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder $(ARGS)

check: setup               ## format, lint, imports, types, unit and architecture tests that need no other server
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@PYTHONPATH=.:proto .venv/bin/lint-imports --no-cache
	@.venv/bin/mypy
	@$(PYTHON) -m pytest -q -n $(WORKERS) -m "not peer and not long" tests/unit tests/architecture

bench: setup               ## ratios against peers, in bench/out/results.json
	@$(PYTHON) -m bench $(ARGS)

wire: setup                ## regenerate proto/wire/v1 from the .proto files
	@cd proto && PATH="../.venv/bin:$$PATH" ../$(PYTHON) -m grpc_tools.protoc -I. --python_out=. --grpc_python_out=. --mypy_out=. --mypy_grpc_out=. wire/v1/spec.proto wire/v1/records.proto wire/v1/gateway.proto

format: setup              ## format and sort what can be
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .
