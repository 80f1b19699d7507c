# make setup | test | package | matrix | lint | live | tour | demo | bench | images | up | down
.DEFAULT_GOAL := help
SHELL := /bin/bash
PY := .venv/bin/python
# Most tests wait for servers, so three at a time use two cores. Which share a process: tests/conftest.py.
WORKERS ?= -n 3
TESTS ?= tests/unit tests/contract tests/airflow tests/e2e tests/package
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
# `make matrix`: words of tools/matrix --help.
MATRIX ?=

.PHONY: help setup lint unit package matrix test live tour demo bench images up down clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Debian packages that are missing, and .venv
	@tools/setup

lint: setup ## ruff, mypy --strict, import-linter
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports

unit: setup ## the tests that start no server
	$(PY) -m pytest tests/unit

package: setup ## build it, check it, install it into empty environments, with and without extras
	$(PY) -m pytest tests/package

matrix: setup ## Airflow 3.1, 3.2 and 3.3 on Python 3.11, 3.12 and 3.13; MATRIX='--airflow 3.1 --python 3.12', --fresh
	@$(PY) tools/matrix $(MATRIX)

test: lint ## everything; needs root or a user that may run mariadbd
	$(PY) -m pytest $(WORKERS) $(TESTS) || { $(AGAIN) $(TESTS); }
	$(PY) -m pytest $(LIVE) || { $(AGAIN) $(LIVE); }
	$(PY) -m pytest $(TOUR) || { $(AGAIN) $(TOUR); }

live: setup ## of these, the proofs under a real scheduler and triggerer, LocalExecutor and Celery
	$(PY) -m pytest $(LIVE)

tour: setup ## docker-compose.yaml as a whole, with images built here, and cycles through it; takes many minutes
	$(PY) -m pytest $(TOUR)

demo: setup ## four cycles on a real MariaDB under Airflow, then the proof; FLAVOR=mysql, RUNTIME=docker, KEEP=1
	@$(PY) -m demo run

bench: setup ## against mariadb-backup and restic (docs/performance.md); SIZE=200m, ROW=restore, BENCH_DIR=/kept
	@tools/bench-peers
	@$(PY) -m bench --size $(SIZE) --row "$(ROW)"

images: setup ## images of replay nodes, in the Docker engine of this host or of DOCKER_HOST
	@tools/node-images

up: setup ## a primary under load, Airflow's scheduler and UI; stays until `make down`
	@$(PY) -m demo up

down: ## end what `make up` started and remove it
	@$(PY) -m demo down

clean: ## remove .venv and caches
	rm -rf .venv .bench .matrix .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
