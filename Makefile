# make search | test | lint | docs | setup | lock. Needs Python 3.11 or 3.12, make and git; everything else goes into .venv.

PYTHON ?= python3
BIN := .venv/bin
UV_VERSION := 0.13.9

.PHONY: setup search test test-fast test-cluster lint format docs lock

setup: .venv/.installed

.venv/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	# Compiled now: otherwise, where Python may not write bytecode, every process of every search compiles torch again.
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

search: setup
	$(BIN)/python tune_scratch.py --data digits --num-samples 48

test: setup
	$(BIN)/python -m pytest -n 2

test-fast: setup
	$(BIN)/python -m pytest -n 2 -m "not slow"

# Needs root on Linux, openssh-server, rsync, iproute2, curl and nftables (tests/cluster_lab/README.md); fails where it cannot run.
test-cluster: setup
	INAT_CLUSTER_LAB=required $(BIN)/python -m pytest tests/cluster

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# site/, from docs/ and the docstrings. Fails on a broken link or anchor, a page outside the navigation, and a reference
# that names no object. The variable silences a notice about MkDocs 2, which requirements.lock does not take.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# Resolved for Python 3.11 and 3.12 on Linux and macOS at once.
lock:
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	    --custom-compile-command "make lock" requirements.txt --output-file requirements.lock
