# Each target sets up what it needs: PYTHON chooses the interpreter, VENV where it is installed.
PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
BIN = $(VENV)/bin

.PHONY: demo test check lint types clean

demo: $(VENV)/.installed
	@echo "Open http://127.0.0.1:$(PORT) in a browser. Ctrl-C stops."
	$(BIN)/gunicorn app:app --chdir examples/demo -k flask_aiohttp_worker.Worker \
		-w 2 -b 127.0.0.1:$(PORT) --no-control-socket

test: $(VENV)/.installed-test
	$(BIN)/pytest $(TESTS)

check: lint types test

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

$(VENV)/.installed: setup.cfg
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-test
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv* build dist *.egg-info
