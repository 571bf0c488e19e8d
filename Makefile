# Each target is one command that can also be typed by hand. `setup`, which the others need, creates the virtual
# environment, and installs again when the pinned versions change. Another Python needs a VENV of its own:
#   make test PYTHON=python3.13 VENV=.venv-3.13
PYTHON ?= python3
VENV ?= .venv
IN_VENV = $(VENV)/bin/python

.PHONY: setup demo test test-slow lint bench

demo: setup
	$(IN_VENV) -m experiments.demo

test: setup
	$(IN_VENV) -m pytest -m "not slow"

test-slow: setup
	$(IN_VENV) -m pytest -m slow

lint: setup
	$(IN_VENV) -m ruff check . && $(IN_VENV) -m ruff format --check .

bench: setup
	$(IN_VENV) -m experiments.benchmarks

setup: $(VENV)/installed

$(VENV)/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(IN_VENV) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@
