# make setup | test | lint | live | tour | demo | bench | images | up | down
.DEFAULT_GOAL := help
SHELL := /bin/bash
PY := .venv/bin/python
# Most tests wait for servers, so three at a time use two cores. Which share a process: tests/conftest.py.
WORKERS ?= -n 3
TESTS ?= tests/unit tests/contract tests/airflow tests/e2e
# By themselves: one Airflow that is killed again and again takes both cores.
LIVE ?= tests/live
TOUR ?= tests/compose
# Real servers on a busy machine miss a deadline now and then. What failed is run once more by itself, loudly: a defect
# fails twice. Nothing to run again (a wrong skip, an error in collecting) stays a failure.
AGAIN = echo "*** FAILED ONCE; again, one at a time: ***" >&2; $(PY) -m pytest --last-failed --last-failed-no-failures none

# `make bench`: size of the database; only the rows whose id begins with ROW; a directory that keeps the data sets.
SIZE ?= 2g
ROW ?=
export BENCH_DIR

.PHONY: help setup lint unit test live tour demo bench images up down clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## all that the targets below need and is not here yet; each of them installs its own part
	@tools/setup

ready-%:
	@tools/setup $*

lint: ready-lint ## ruff, mypy --strict, import-linter
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports

unit: ready-unit ## the tests that start no server
	$(PY) -m pytest tests/unit

test: setup lint ## everything; needs root or a user that may run mariadbd
	$(PY) -m pytest $(WORKERS) $(TESTS) || { $(AGAIN) $(TESTS); }
	$(PY) -m pytest $(LIVE) || { $(AGAIN) $(LIVE); }
	$(PY) -m pytest $(TOUR) || { $(AGAIN) $(TOUR); }

live: ready-live ## of these, the proofs under a real scheduler and triggerer, LocalExecutor and Celery
	$(PY) -m pytest $(LIVE)

tour: ready-tour ## docker-compose.yaml as a whole, with images built here, and cycles through it; takes many minutes
	$(PY) -m pytest $(TOUR)

demo: ready-demo ## four cycles on a real MariaDB under Airflow, then the proof; FLAVOR=mysql, RUNTIME=docker, KEEP=1
	@$(PY) -m demo run

bench: ready-bench ## against mariadb-backup and restic (docs/performance.md); SIZE=200m, ROW=restore, BENCH_DIR=/kept
	@$(PY) -m bench --size $(SIZE) --row "$(ROW)"

images: ready-images ## images of replay nodes, in the Docker engine of this host or of DOCKER_HOST
	@tools/node-images

up: ready-up ## a primary under load, Airflow's scheduler and UI; stays until `make down`
	@$(PY) -m demo up

down: ## end what `make up` started and remove it
	@$(PY) -m demo down

clean: ## remove .venv and caches
	rm -rf .venv .bench .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
