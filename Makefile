# Needs Python 3.11+, make and the package index. `make run` serves the product, `make test` runs every test.
PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
# make run TRAIN=0 leaves torch out: everything works but training and the small base model
TRAIN ?= 1
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
RUN_EXTRA := $(if $(filter 0,$(TRAIN)),,[train])
RUN_STAMP := $(VENV)/.installed-run$(filter 0,$(TRAIN))

.PHONY: run test check bench loop routing-report lint clean

run: $(RUN_STAMP)
	$(BIN)/python manage.py serve --port $(PORT) --demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m tests.all

check: $(VENV)/.installed-dev lint
	$(BIN)/python -m pytest -n 2 -m "not slow and not browser and not faults"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy annotate feedback routing training

bench: $(VENV)/.installed-dev
	for file in bench/*.py; do $(BIN)/python $$file --quick || exit 1; done

# make loop DATA=path/to/mtbench-human-gpt4; without DATA, the demo instances
loop: $(VENV)/.installed-run
	$(BIN)/python manage.py loop $(if $(DATA),--data $(DATA))

# make routing-report DATA=path/to/folder-of-sets; without DATA, the simulation alone. It says how far it is world by
# world and set by set; eight worlds and the three public sets took 7 minutes on one of two busy cores, 22 on one of two very busy ones
routing-report: $(VENV)/.installed-run$(filter 0,$(TRAIN))
	$(BIN)/python manage.py routing_report $(if $(DATA),--data $(DATA))

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tiebreak needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-run: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) ".[train]"
	@touch $@

$(VENV)/.installed-run0: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) .
	@touch $@

$(VENV)/.installed-dev: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) ".[train,dev]"
	@touch $@ $(VENV)/.installed-run

clean:
	rm -rf $(VENV) var
