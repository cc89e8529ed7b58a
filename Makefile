# `make demo` shows the main job on real servers; `make test` runs every test. Both set up all they need.
PYTHON ?= python3
BIN := .venv/bin
SECONDS ?= 3600
KILLS ?= 1000
SEED ?= $(shell od -An -N2 -tu2 /dev/urandom)

.PHONY: help demo test lint fuzz storm bench lock clean prepare install

help:
	@echo "make demo    a sample mailbox on a real IMAP server, taken into a database, and what was found"
	@echo "make test    all tests (PYTEST='-k spool -x' passes options on)"
	@echo "make lint    ruff and mypy"
	@echo "make fuzz    random mail through the parser, led by coverage, for an hour (SECONDS=60: a minute)"
	@echo "make storm   a thousand kills while the mailbox is in use, and the archive reckoned up (KILLS=100 SEED=7)"
	@echo "make bench   all of it beside its peers, those that are installed (BENCH='--rounds 1 --small 500': a glimpse;"
	@echo "             BENCH=--publish: an hour, and docs/performance.* are written anew; BENCH=--help)"
	@echo "make install as a service of systemd: /opt/ingestd, the unit, /etc/ingestd/ingestd.toml (as root)"
	@echo "make lock    pin what pyproject.toml asks for in requirements.lock (needs uv)"
	@echo "make clean   remove the virtual environment and everything the demo and the tests left"

prepare:
	@PYTHON='$(PYTHON)' tools/prepare

demo: prepare
	@$(BIN)/ingestd demo --directory var/demo

test: prepare
	@$(BIN)/python -m pytest $(PYTEST)

lint: prepare
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The fuzzer is large and only needed here, so it is no extra: those are all in requirements.lock.
fuzz: prepare
	$(BIN)/pip install -q --disable-pip-version-check atheris==3.0.0
	mkdir -p var/fuzz
	$(BIN)/python -m tests.fuzz.parse -max_total_time=$(SECONDS) -artifact_prefix=var/fuzz/

storm: prepare
	INGESTD_STORM_KILLS=$(KILLS) INGESTD_STORM_SEED=$(strip $(SEED)) $(BIN)/python -m pytest -q -s tests/faults/test_storm.py

bench: prepare
	@mkdir -p var
	$(BIN)/python -m bench $(BENCH)

install:
	@PYTHON='$(PYTHON)' tools/install

lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --all-extras --no-header \
		-o requirements.lock pyproject.toml
	uv pip compile --universal --python-version 3.11 --generate-hashes --extra oauth --no-header \
		-o requirements-service.lock pyproject.toml

clean:
	rm -rf .venv var dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
