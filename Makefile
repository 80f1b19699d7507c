# make setup | test | sweep | package | matrix | lint | docs | live | tour | demo | bench | images | up | down
.DEFAULT_GOAL := help
SHELL := /bin/bash
PY := .venv/bin/python

# `make bench`: size of the database; only the rows whose id begins with ROW; a directory that keeps the data sets.
SIZE ?= 2g
ROW ?=
export BENCH_DIR
# `make matrix`: words of tools/matrix --help.
MATRIX ?=

# Some images forbid bytecode; then each of hundreds of processes would compile Airflow again, for seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup lint docs unit package matrix test sweep live tour demo bench images up down clean

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

# Not --quiet: then strict mode sees no warnings.
docs: ready-docs ## the documents as a site, in site/; a link that leads nowhere is an error
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build

unit: ready-unit ## the tests that start no server
	$(PY) -m pytest tests/unit

package: ready-lint ## build it, check it, install it into empty environments, with and without extras
	$(PY) -m pytest tests/package

matrix: ready-matrix ## Airflow 3.1, 3.2 and 3.3 on Python 3.11, 3.12 and 3.13; MATRIX='--airflow 3.1 --python 3.12', --fresh
	@$(PY) tools/matrix $(MATRIX)

test: setup ## lint and all tests but the sweeps; needs root or a user that may run mariadbd
	@$(PY) -m tests.suite run

sweep: setup ## what takes longer: the hunt, more kills, the tour (docs/testing.md)
	@$(PY) -m tests.suite sweep

live: ready-live ## of the tests, the proofs under a real scheduler and triggerer, LocalExecutor and Celery
	$(PY) -m pytest -m "not sweep" tests/live

tour: ready-tour ## of the sweeps, docker-compose.yaml as a whole, with images built here, and cycles through it
	$(PY) -m pytest tests/compose

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
	rm -rf .venv .bench .matrix site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
