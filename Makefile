# Every target sets up what it needs in .venv, once; a second run costs nothing. `make help` lists the targets.

PYTHON  ?=# the Python to make .venv with; empty: the newest found that is 3.11 or later
ARGS    ?=# passed on by run, test, bench and capture ADD=…
ADD     ?=# the file that capture adds
MINUTES ?= 1
HOURS   ?=# how long soak takes

VENV    := .venv
PYTHONS := python3.13 python3.12 python3.11 python3
PY      := $(VENV)/bin/python
PIP     := $(PY) -m pip --quiet --quiet --disable-pip-version-check --no-input
SOURCE  := agent replay qemu containers tests pcaps

.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := help
.PHONY: help run test test-s390x test-ppc64 guest kernels check format bench soak fuzz columns docs outputs golden capture pins venv clean
MAKEFLAGS += --no-print-directory

help: ## This list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1  \2/p' Makefile

run: $(VENV)/project.stamp ## The agent on this host, until Ctrl-C; ARGS="--max-loops 2" are options of xtcp run
	@$(VENV)/bin/xtcp run $(ARGS)

test: $(VENV)/test.stamp ## The test suite; ARGS="-k decode" are pytest's options, "-m guest" what boots kernels
	@$(PY) -m pytest -m "not guest" $(ARGS)

test-s390x: $(VENV)/test.stamp ## The suite on s390x, big-endian, in a container under qemu. As root
	@$(PY) -m containers.suite s390x $(ARGS)

test-ppc64: $(VENV)/test.stamp ## The suite on ppc64, big-endian, built from source the first time. As root
	@$(PY) -m containers.suite ppc64 $(ARGS)

guest: $(VENV)/test.stamp ## A command on another kernel: ARGS="s390x:bookworm -- uname -a"; ARGS=--list names them
	@$(PY) -m qemu.boot $(ARGS)

kernels: $(VENV)/test.stamp ## Boot every kernel, record captures with witnesses, verify; ARGS="s390x:forky" for some
	@$(PY) -m qemu.kernels $(ARGS)

check: $(VENV)/check.stamp ## Format, lint, types and import contracts
	@failed=0; \
	$(VENV)/bin/ruff format --check --quiet --diff $(SOURCE) || failed=1; \
	$(VENV)/bin/ruff check --quiet $(SOURCE) || failed=1; \
	$(VENV)/bin/mypy --no-error-summary || failed=1; \
	$(VENV)/bin/lint-imports --no-logo >$(VENV)/lint-imports.txt || { cat $(VENV)/lint-imports.txt; failed=1; }; \
	exit $$failed

format: $(VENV)/check.stamp ## Format the code, mend what the linter can mend
	@$(VENV)/bin/ruff check --quiet --fix $(SOURCE) || true
	@$(VENV)/bin/ruff format $(SOURCE)

bench: $(VENV)/test.stamp ## Measure; ARGS="--help" lists what. As root: it makes a network namespace
	@PYTHONPATH="$(CURDIR)" $(PY) tests/bench/run.py $(ARGS)

soak: $(VENV)/test.stamp ## The agent under churn and outages for 15 minutes; HOURS=24 or MINUTES=5. As root
	@PYTHONPATH="$(CURDIR)" $(PY) -m tests.bench.endurance $(or $(if $(HOURS),$(HOURS)h),$(if $(filter command line,$(origin MINUTES)),$(MINUTES)m),15m)

fuzz: $(VENV)/fuzz.stamp ## Fuzz every entry point, MINUTES=1 all together
	@PYTHONPATH="$(CURDIR)" $(PY) tests/fuzz/run.py --minutes $(MINUTES)

columns: $(VENV)/project.stamp ## Write what of proto/ is made from the schema and the layouts
	@$(PY) -m xtcp.schema.render --write
	@$(PY) -m xtcp.records.texts.render --write

docs: $(VENV)/test.stamp ## Write what in docs/ is made from the product's tables
	@PYTHONPATH="$(CURDIR):$(CURDIR)/agent" $(PY) -m tests.docs.pages --write

outputs: $(VENV)/test.stamp ## Write pcaps/outputs.sha256, the hashes of what every capture becomes
	@PYTHONPATH="$(CURDIR):$(CURDIR)/agent:$(CURDIR)/replay" $(PY) -m tests.golden.outputs --write

golden: $(VENV)/test.stamp ## Check all of pcaps/: manifest, golden rows, twins, damaged files
	@$(VENV)/bin/xtcp-replay golden check pcaps
	@$(PY) -m pytest --quiet --no-header tests/golden/test_damaged.py

capture: $(VENV)/test.stamp ## Record this kernel's capture into pcaps/, as root; ADD=FILE adds one that is there
	@$(if $(ADD),$(PY) pcaps/add.py "$(ADD)" $(ARGS),$(PY) pcaps/record.py)

pins: $(VENV)/project.stamp ## Pin requirements/*.txt again, with Python 3.11, the oldest that must take them
	@$(PY) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  || { echo "This .venv is not Python 3.11; run: make clean && make pins PYTHON=python3.11" >&2; exit 1; }
	@$(PY) -m venv --clear $(VENV)/pins && $(VENV)/pins/bin/python -m pip --quiet install pip-tools
	@for set in run test check fuzz pure cross s390x; do \
	  $(VENV)/pins/bin/pip-compile --quiet --upgrade --no-config --no-header \
	    --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	    --output-file requirements/$$set.txt requirements/$$set.in || exit; \
	done

venv: $(VENV)/check.stamp ## Only set up .venv, for an editor

clean: ## Remove .venv, caches and build leftovers
	@rm -rf $(VENV) build dist xtcp.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find $(SOURCE) -name __pycache__ -type d -prune -exec rm -rf {} +


# --- the virtual environment: a stamp for each set of requirements ---

# Where the Python that .venv was made with has gone, the stamps lie.
ifeq ($(shell test -x $(PY) && echo there),)
$(shell rm -f $(VENV)/*.stamp)
endif

define install
	@echo "installing requirements/$(1).txt" >&2
	@$(PIP) install --require-hashes --no-deps -r requirements/$(1).txt || { printf '%s\n' \
	  "requirements/$(1).txt could not be installed; pip's reason is above." \
	  "Usually no package index can be reached, or this Python or machine has no wheel of a package." \
	  "Look at pip's settings ($(PY) -m pip config list), or take another Python: make clean, then make PYTHON=…" >&2; \
	  exit 1; }
	@touch $@
endef

$(VENV)/project.stamp: pyproject.toml $(VENV)/run.stamp
	@$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

# ensurepip: a set-up that was interrupted may have left a Python without pip.
$(VENV)/run.stamp: requirements/run.txt | $(PY)
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip >/dev/null
	$(call install,run)

$(VENV)/test.stamp: requirements/test.txt $(VENV)/project.stamp
	$(call install,test)

$(VENV)/check.stamp: requirements/check.txt $(VENV)/test.stamp
	$(call install,check)

$(VENV)/fuzz.stamp: requirements/fuzz.txt $(VENV)/test.stamp
	$(call install,fuzz)

# A candidate must run: it may be a shim for a version that is not there, or lack Debian's python3-venv.
$(PY):
	@for python in $(if $(PYTHON),"$(PYTHON)",$(PYTHONS)); do \
	  "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  echo "making .venv with $$("$$python" --version)" >&2; \
	  "$$python" -m venv --clear $(VENV); exit; \
	done; printf '%s\n' \
	  "Found no Python 3.11 or later that can make a virtual environment (tried: $(or $(PYTHON),$(PYTHONS)))." \
	  "Usually it is older, or its venv module is a package of its own." \
	  "Install it (Debian: apt-get install python3 python3-venv), or name one: make PYTHON=/path/to/python3" >&2; \
	exit 1
