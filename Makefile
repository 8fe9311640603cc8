# make search | test | lint | docs | wheel. Needs Python 3.11 to 3.13, make and git; every package goes into .venv.

PYTHON ?= python3
BIN := .venv/bin
OLDEST := .venv-oldest/bin
UV_VERSION := 0.13.9

.PHONY: setup search compiled test test-long test-gpu test-slurm test-docs test-fast test-oldest test-cluster lint format docs wheel lock

setup: .venv/.installed

.venv/.installed: LOCK := requirements.lock
.venv-oldest/.installed: LOCK := requirements-oldest.txt
.venv/.installed: requirements.lock
.venv-oldest/.installed: requirements-oldest.txt

.venv/.installed .venv-oldest/.installed: pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	# Compiled here once: where Python may not write bytecode, each process of each search would compile torch again.
	$(@D)/bin/uv pip install --quiet --compile-bytecode --python $(@D)/bin/python -r $(LOCK)
	$(@D)/bin/uv pip install --quiet --python $(@D)/bin/python --no-deps --no-build-isolation --editable .
	@echo "next: source $(@D)/bin/activate && python tune_scratch.py --data digits --num-samples 48"
	touch $@

search: setup
	$(BIN)/python tune_scratch.py --data digits --num-samples 48

# Bytecode, for the hundreds of processes that the tests start: where Python may not write it, each would compile inat.
compiled: setup
	$(BIN)/python -m compileall -q inat analysis

# The threads of OpenMP wait for each other in a loop: where two processes of pytest share two cores, that takes several times
# the processor time of the work itself.
ONE_THREAD := OMP_NUM_THREADS=1

# The tests on a real Slurm wait minutes for its pauses: `make test-slurm` runs them.
SLURM_TESTS := tests/clusters/test_slurm.py

test: compiled
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -m "not long" $(addprefix --ignore ,$(SLURM_TESTS))

# Ten kills at random moments, the notebook in an environment of its own, 41 of timm's models, and searches from end to end:
# minutes each.
test-long: compiled
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -m long

# On a machine with a CUDA GPU; elsewhere they are skipped.
test-gpu: setup
	$(BIN)/python -m pytest -m gpu -rs

# Skipped where Slurm is not installed (docs/clusters/slurm.md).
test-slurm: setup
	$(BIN)/python -m pytest $(SLURM_TESTS)

# The recipes of docs/extending.md and the commands that the docs show; `make test` includes all but the long ones.
DOCS_TESTS := tests/recipes tests/docs/test_commands.py tests/docs/test_site.py

test-docs: compiled
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 $(DOCS_TESTS)

test-fast: compiled
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -m "not slow"

# The suite with the oldest supported version of each dependency, in an environment of its own; without the tests of the
# docs, whose shown outputs are those of the newest versions.
test-oldest: .venv-oldest/.installed
	$(ONE_THREAD) $(OLDEST)/python -m pytest -n 2 -m "not long" $(addprefix --ignore ,$(DOCS_TESTS) $(SLURM_TESTS))

# Needs root on Linux, openssh-server, rsync, iproute2, curl and nftables (tests/cluster_lab/README.md); fails without them.
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

# dist/*.whl and dist/*.tar.gz. Without isolation: setuptools comes from .venv, so the build needs no network.
wheel: setup
	$(BIN)/python -m build --no-isolation

# requirements.lock holds for Python 3.11 to 3.13 on Linux and macOS, requirements-oldest.txt for Python 3.11 on Linux: the
# lower bounds of pyproject.toml with the development tools of requirements.txt. clusters/requirements-kubernetes.txt is what
# the image for Kubernetes needs, in the versions of requirements.lock. What still fits keeps its version.
lock: RESOLVE := $(BIN)/uv pip compile --quiet --python-version 3.11 --custom-compile-command "make lock"
lock:
	$(RESOLVE) --universal requirements.txt --output-file requirements.lock
	sed '1,/^# Development/d' requirements.txt | \
	    $(RESOLVE) --resolution lowest-direct --python-platform linux pyproject.toml - --output-file requirements-oldest.txt
	$(RESOLVE) --universal --extra kubernetes --constraint requirements.lock pyproject.toml \
	    --output-file clusters/requirements-kubernetes.txt
