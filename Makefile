# make train   set up .venv and train on the embedded digits (CPU, minutes)      ARGS="trainer.max_epochs=20" passes overrides
# make test    set up with the development extras, lint, run all tests           ARGS="--run-slow" passes pytest options
# make docs    set up with the development extras, build the documentation site into docs/_build/html
# make gallery set up and write docs/gallery.md with its pictures from the runs and models at hand      ARGS="RUN ..." names the runs
# make setup   only set up, with the development extras
# make setup-browser   set up, and install Chromium, in which the tests try the page of play.py (Debian or Ubuntu; root or sudo)
# make wheel   build the package into dist/
PYTHON ?= python3
BIN := .venv/bin

BROWSERS := chromium chromium-browser google-chrome

.PHONY: train test docs gallery setup setup-browser lint format wheel
.DELETE_ON_ERROR:

train: .venv/.installed
	$(BIN)/python train.py experiment=digits_fast $(ARGS)

test: setup lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadscope $(ARGS)

docs: setup
	$(BIN)/python -m sphinx -W --keep-going -q -c docs . docs/_build/html
	@echo "page: docs/_build/html/index.html"

gallery: .venv/.installed
	$(BIN)/python bench/gallery.py $(ARGS)

setup: .venv/.installed-dev

setup-browser: setup
	@for name in $(BROWSERS); do command -v $$name > /dev/null && exit 0; done; \
	command -v apt-get > /dev/null && sudo=$$(test $$(id -u) = 0 || echo sudo) \
	&& $$sudo apt-get update -qq && $$sudo apt-get install -y -qq --no-install-recommends chromium > /dev/null \
	|| { echo "Chromium cannot be installed here; install it yourself, as one of: $(BROWSERS)" >&2; exit 1; }

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

wheel: .venv/.installed
	rm -rf build dist
	$(BIN)/python -m pip wheel --quiet . --no-deps --wheel-dir dist

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 10) <= sys.version_info[:2] <= (3, 13) else "Python 3.10 to 3.13 is needed, this is " + sys.version.split()[0] + "; say which with PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

.venv/.installed: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing PyTorch and the other packages into .venv: some 6 GB, a few minutes"
	$(BIN)/python -m pip install --quiet --editable . --constraint constraints.txt
	@touch $@

.venv/.installed-dev: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing PyTorch, the other packages and the development tools into .venv: some 6 GB, a few minutes"
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	@touch $@ .venv/.installed
