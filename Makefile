# What one does with Stoxgate. Each target sets up what it needs: a virtual environment in .venv (versions pinned in
# requirements.lock) and the peers that it is tested beside in .peers (Debian packages, unpacked). No root is needed.
#
#   make run            start a demo between real peers on loopback
#   make test           all tests                       ARGS="tests/core -k cpim" runs some
#   make lint           ruff and mypy
#   make fmt            mend what ruff can mend
#   make requirements   numbers of docs/requirements.toml that no test names    ARGS="MSG CPIM"
#   make bench          measure beside Kamailio's xmpp module: load over UDP and TCP, behaviour and faults; what a signature costs
#   make soak           the long forms of the tests
#   make mutants        whether the tests notice small changes of the code
#   make wheel          dist/*.whl
#   make clean          remove everything that was made here

# The distribution's interpreter is built with profile-guided optimisation; one compiled plainly takes half as long again.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
ARGS ?=
GROUPS ?=
VENV := .venv/bin/python
READY := .venv/.ready
BENCH := $(VENV) -m tests.bench.peerlab
PIP := $(VENV) -m pip --disable-pip-version-check install -qq --constraint requirements.lock --only-binary :all:

.PHONY: run test lint fmt requirements bench soak mutants wheel clean peers core-peers

run: $(READY) core-peers
	$(VENV) -m tests.demo $(ARGS)

test: $(READY) peers
	$(VENV) -m pytest -q -o faulthandler_timeout=300 $(ARGS)

lint: $(READY)
	$(VENV) -m ruff check --output-format concise gateway mappings tests
	$(VENV) -m ruff format --check --quiet gateway mappings tests
	$(VENV) -m mypy --strict gateway tests mappings

fmt: $(READY)
	$(VENV) -m ruff check --fix gateway mappings tests
	$(VENV) -m ruff format gateway mappings tests

requirements: $(READY)
	@$(VENV) -m tests.requirements $(ARGS)

bench: $(READY) peers
	$(BENCH) compare kamailio stoxgate --transport udp $(ARGS)
	$(BENCH) compare kamailio stoxgate --transport tcp $(ARGS)
	$(BENCH) probe kamailio stoxgate
	$(VENV) -m tests.bench.verify_cost

soak: $(READY) peers
	STOXGATE_SOAK=1 $(VENV) -m pytest -q -o faulthandler_timeout=3600 $(ARGS)

mutants: $(READY)
	$(VENV) -m tests.mutants $(ARGS)

wheel: $(READY)
	rm -rf build dist
	$(VENV) -m pip --disable-pip-version-check wheel -q --no-deps --no-build-isolation --wheel-dir dist .

peers:  # GROUPS=linphone adds the optional one
	@$(PYTHON) tests/peers/install.py core interop $(GROUPS)

core-peers:
	@$(PYTHON) tests/peers/install.py core

# Under a lock, because two targets may be asked for at the same time; who comes second finds it done.
$(READY): pyproject.toml requirements.lock tests/peers/environment.py
	@flock pyproject.toml sh -euc 'if [ -e $@ ] && [ -z "$$(find $^ -newer $@)" ]; then exit; fi; \
	    echo "Setting up .venv; this takes a minute or two, once." >&2; \
	    $(PYTHON) tests/peers/environment.py .venv; $(PIP) setuptools; $(PIP) --no-build-isolation --editable ".[test]"; touch $@'

clean:
	rm -rf .venv .peers dist build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
