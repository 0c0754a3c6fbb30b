# Each target sets up what it needs: PYTHON chooses the interpreter, VENV where it is installed.
PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
REQUESTS ?= 300000
BIN = $(VENV)/bin

.PHONY: demo test test-lowest soak replacing check lint types duplicates clean

demo: $(VENV)/.installed
	@echo "Open http://127.0.0.1:$(PORT) in a browser. Ctrl-C stops."
	$(BIN)/gunicorn app:app --chdir examples/demo -k flask_aiohttp_worker.Worker \
		-w 2 -b 127.0.0.1:$(PORT) --no-control-socket

test: $(VENV)/.installed-test
	$(BIN)/pytest $(TESTS)

# The same with the oldest versions that setup.cfg allows.
test-lowest: $(VENV)/.installed-lowest
	$(BIN)/pytest $(TESTS)

# 300,000 requests of all kinds to one worker, which must hold no more afterwards.
soak: $(VENV)/.installed-test
	$(BIN)/python tests/soak.py --requests $(REQUESTS)

# Replace gunicorn's workers in each way there is while requests come: none may be lost.
replacing: REQUESTS = 20000
replacing: $(VENV)/.installed-test
	$(BIN)/python tests/replacing.py --requests $(REQUESTS)

check: lint types duplicates test

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	if [ -x $(BIN)/hadolint ]; then $(BIN)/hadolint deploy/Dockerfile; fi

# Lines that stand twice.
duplicates: $(VENV)/.installed-dev
	$(BIN)/pylint --disable=all --enable=duplicate-code --min-similarity-lines=8 \
		--ignore-imports=y --ignore-docstrings=y --ignore-signatures=y \
		flask_aiohttp flask_aiohttp_worker

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

$(VENV)/.installed-lowest: setup.cfg tests/lowest-versions.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[test]' --constraint tests/lowest-versions.txt
	touch $@

clean:
	rm -rf .venv* build dist *.egg-info

# Flask's own tests, and those of others, with every request sent through this project.
.PHONY: conformance
conformance: .venv-conformance/.installed
	.venv-conformance/bin/python conformance/run.py --suites "$(SUITES)" --modes "$(MODES)"

# gunicorn's own request corpus, sent to this worker and to gthread.
.PHONY: corpus
corpus: $(VENV)/.installed-test
	$(BIN)/python conformance/corpus.py

.venv-conformance/.installed: setup.cfg conformance/requirements.txt
	$(PYTHON) -m venv .venv-conformance
	.venv-conformance/bin/pip install --quiet --editable . --requirement conformance/requirements.txt
	touch $@

# The pages of docs/ that are made from the code.
.PHONY: docs
docs: $(VENV)/.installed
	$(BIN)/python docs/make_settings.py

# The testsuite of the websocket protocol, against gunicorn with this worker. It needs Python 2.7.
.PHONY: autobahn autobahn-full
PYTHON27 ?= python2.7
autobahn: $(VENV)/.installed
	$(BIN)/python conformance/autobahn/run.py --python27 "$(PYTHON27)"

autobahn-full: $(VENV)/.installed
	$(BIN)/python conformance/autobahn/run.py --python27 "$(PYTHON27)" --full

# Rooms beside Flask-SocketIO with Redis: messages in a second, and how late they are.
.PHONY: bench-rooms
bench-rooms: $(VENV)/.installed-test .venv-socketio/.installed
	$(BIN)/python benchmarks/rooms.py
	$(BIN)/python benchmarks/rooms.py --server redis
	$(BIN)/python benchmarks/rooms.py --server socketio --python .venv-socketio/bin/python

.venv-socketio/.installed: benchmarks/socketio-requirements.txt
	$(PYTHON) -m venv .venv-socketio
	.venv-socketio/bin/pip install --quiet --requirement benchmarks/socketio-requirements.txt
	touch $@
