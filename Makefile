# The project's commands. CI calls `make test`; everything here works on a machine with Python and make alone.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.installed
DEMO   := .demo
BENCH  := .bench
# Tests of the whole, in processes of their own mostly, whose lines are not counted.
WHOLE  := tests/e2e tests/deploy tests/dbt tests/docs
# Every test that starts a command would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check coverage ui lint types dictionary docs bench lock clean

help: ## Show this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "python: too old (was $$($(PYTHON) -V 2>&1); expected 3.11, 3.12 or 3.13). Run: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Making $(VENV) from requirements.lock (once, about a minute)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY) ## Two simulated days of four venues through Dagster, from instruments to dbt marts
	@$(BIN)/tickhandler demo --home $(DEMO)

ui: $(READY) ## Dagster's web page over the demo's instance, the sandbox behind it
	@$(BIN)/tickhandler ui --home $(DEMO)

test: lint types ## Everything a change has to pass
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal

coverage: $(READY) ## Lines that tests of the parts reach, and the least there may be
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal --cov --cov-report=term $(WHOLE:%=--ignore=%)

check: test ## The same as test

lint: $(READY) ## Style, layers and size budgets
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: $(READY) ## Static types
	@$(BIN)/mypy

dictionary: $(READY) ## Write the dictionaries in docs/ and dbt's sources from the code
	@$(BIN)/tickhandler dictionary features > docs/feature-dictionary.md
	@$(BIN)/tickhandler dictionary mft > docs/mft-dictionary.md
	@$(BIN)/tickhandler dictionary tables > docs/data-dictionary.md
	@$(BIN)/tickhandler dictionary dbt-sources > dbt_bigquery/models/sources.yml
	@$(BIN)/tickhandler dictionary dbt-docs > dbt_bigquery/models/columns.md

docs: $(READY) ## The documentation as a site in .docs/site; a broken link fails
	@$(BIN)/python docs/draw_pictures.py
	@$(BIN)/python -m sphinx -q -W --keep-going -b html -d .docs/cache docs .docs/site
	@echo "Open .docs/site/index.html"

bench: $(READY) ## CPU-seconds and memory beside the limit and the peers
	@$(BIN)/python benchmarks/run.py --folder $(BENCH) $(ARGS)

LOCK := uv pip compile --universal --no-strip-extras --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header

lock: ## Re-make requirements.lock, that of the image and the locks of the benchmark's peers (needs uv)
	$(LOCK) --extra deploy --group dev pyproject.toml -o requirements.lock
	$(LOCK) --extra deploy pyproject.toml -o deploy/requirements.lock
	cd benchmarks/locks && for peer in *.in; do $(LOCK) $$peer -o $${peer%.in}.lock; done

clean: ## Remove the virtual environment, the demo and all caches
	rm -rf $(VENV) $(DEMO) $(BENCH) .docs dbt_bigquery/target dbt_bigquery/logs .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
