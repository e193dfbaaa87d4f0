# Two commands: `make quickstart` and `make test`, each from a bare clone (python3 >= 3.11 with pip).
# Both make .venv once and use it again after that. The tests see an empty home and none of this machine's data.
# CONSTRAINTS=FILE installs other versions than the tested ones, CONSTRAINTS=/dev/null the newest.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CONSTRAINTS ?= constraints.txt
OUT ?= runs/quickstart-$(shell date +%Y%m%d-%H%M%S)
SEED ?=
# The tests on all cores, at most four of them: each process of tests may hold a Ray of its own.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

.PHONY: help quickstart test pytest docs test-data test-slow test-all shuffle fuzz mutants lint types format reports clean

help:
	@echo "make quickstart  set up, search a small space on real data, write a report, pick a network"
	@echo "make test        set up, lint, check types, run the tests"
	@echo "make pytest      run the tests alone, without lint and types"
	@echo "make docs        build the site into site/, strictly"
	@echo "make test-data   run the tests that read this machine's data sets; skips what is absent"
	@echo "make test-slow   run the tests that take minutes each"
	@echo "make test-all    run all of these"
	@echo "make shuffle     run the tests in another order each time (make shuffle SEED=N repeats one)"
	@echo "make fuzz        draw ten times the examples, and 5,000 spoilt inputs, from a fresh seed (make fuzz SEED=N draws them again)"
	@echo "make mutants     ROOM=spaces: change one small thing after the other there, and list what no test noticed"
	@echo "make reports     make the reports under reports/ again (about 3 minutes on two cores)"
	@echo "make format      format the code"
	@echo "make clean       remove the virtual environment and caches"

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; sys.exit("ressearch needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[docs]'
	@touch $@

$(VENV)/.mutants: $(VENV)/.mutants
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[mutants]'
	@touch $@

quickstart: $(VENV)/.installed
	$(BIN)/ressearch run studies/quickstart.yaml --out $(OUT)
	@echo
	@echo "the report:"
	@$(BIN)/ressearch report $(OUT)
	@echo
	@$(BIN)/ressearch pick $(OUT) --max-macs 4M

test: lint types pytest

pytest: $(VENV)/.dev
	$(PYTEST)

docs: $(VENV)/.docs
	PYTHONPATH=. NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	$(BIN)/python -m pytest tests/test_site.py

test-data: $(VENV)/.dev
	$(BIN)/python -m pytest -m machine_data -rs

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m 'slow and not machine_data'

test-all: test test-data test-slow

shuffle: $(VENV)/.dev
	@seed="$(SEED)"; seed=$${seed:-$$($(BIN)/python -c 'import secrets; print(secrets.randbelow(2**32))')}; \
	echo "seed $$seed: \`make shuffle SEED=$$seed\` draws the same order again"; \
	$(PYTEST) -p randomly -p "no:cacheprovider" --randomly-seed $$seed --randomly-dont-reset-seed

fuzz: $(VENV)/.dev
	@seed="$(SEED)"; seed=$${seed:-$$($(BIN)/python -c 'import secrets; print(secrets.randbelow(2**32))')}; \
	echo "seed $$seed: \`make fuzz SEED=$$seed\` draws the same again"; \
	$(BIN)/python -m pytest -m hypothesis --hypothesis-profile fuzz --hypothesis-seed $$seed && \
	$(BIN)/python benchmarks/fuzz.py --seed $$seed

mutants: $(VENV)/.dev
	$(BIN)/python benchmarks/mutants.py $(ROOM) $(MUTANTS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reports: $(VENV)/.installed
	for study in quickstart degradation; do \
	  rm -rf runs/report-$$study reports/$$study && \
	  $(BIN)/ressearch run studies/$$study.yaml --out runs/report-$$study && \
	  $(BIN)/ressearch report runs/report-$$study --out reports/$$study && \
	  cp -r runs/report-$$study/*.parquet runs/report-$$study/run.json runs/report-$$study/study.yaml \
	    runs/report-$$study/examples reports/$$study/ \
	  || exit 1; \
	done

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info build dist site
