# The two commands of the README are `make demo` and `make test`; `make help` lists the others.
SHELL := /bin/bash
# The machine's own, found before the environment's goes in front of it.
PYTHON := $(or $(PYTHON),$(shell command -v python3))
export DEVORCH_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/devorch-orchestration
# One environment for each state of the lock, so that switching branches never mixes them.
VENV := $(DEVORCH_CACHE)/venv-$(shell sha256sum requirements.lock | cut -c1-12)
# The checkout itself, by a link where Ansible looks for a collection; nothing that is installed elsewhere takes part.
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.collections
# Ansible's lines as they are, for people and for the tests that read them.
export MOLECULE_COMMAND_BORDERS := false
export PATH := $(VENV)/bin:$(PATH)
# Two processes: one has the test host, which mostly waits.
TWO := -n2 --dist=loadscope --no-loadscope-reorder
IMAGES := $(PYTHON) tests/images/cli.py

.DEFAULT_GOAL := help
.PHONY: help demo test test-long test-ansible chaos sidecar-real lint bench bench-site role-readmes lock clean distclean environment venv

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

demo: environment ## Provision a disposable orchestration host in a container, load the flows, show how to reach it
	tests/demo/run

test: environment ## Run every test (builds what it needs on the first run; DEVORCH_TIME_BUDGET=minutes begins nothing long after that)
	pytest $(TWO) $(PYTEST_ARGUMENTS)

test-long: environment ## Run every test, and all of the long tables that `make test` takes a sample of (hours)
	DEVORCH_LONG=1 pytest $(TWO) $(PYTEST_ARGUMENTS)

test-ansible: environment ## Run unit tests, sanity and a provisioning with the ansible-core releases that need Python 3.12 or newer (an hour)
	DEVORCH_LONG=1 pytest tests/controllers $(PYTEST_ARGUMENTS)

chaos: environment ## Kill and break 60 runs of site.yml, and see that the next one converges (hours; CHAOS_RUNS=n, DEVORCH_SEED=first)
	DEVORCH_CHAOS_RUNS=$(or $(CHAOS_RUNS),60) pytest tests/chaos $(PYTEST_ARGUMENTS)

sidecar-real: environment ## Run the sidecar's suite against a real multipass (MULTIPASS=/snap/bin/multipass); makes instances and removes them
	DEVORCH_MULTIPASS=$(or $(MULTIPASS),/snap/bin/multipass) pytest tests/sidecar/test_life.py $(PYTEST_ARGUMENTS)

lint: environment ## Run the linters alone
	pytest tests/lint $(PYTEST_ARGUMENTS)

bench: environment ## Measure kestra_flows beside other tools, write docs/development/bench.md and bench.svg (BENCH_ARGUMENTS="--sizes 100,1000")
	$(IMAGES) engine
	$(IMAGES) build kestra postgres
	python3 -m tests.bench $(BENCH_ARGUMENTS)

bench-site: environment ## Measure site.yml on one host and on ten, write docs/development/bench-site.md (BENCH_ARGUMENTS="--rounds 3 --hosts 0")
	python3 -m tests.bench_site $(BENCH_ARGUMENTS)

role-readmes: environment ## Write the README.md of each role from its argument specification
	python3 -m tests.role_readmes

lock: environment ## Renew requirements.lock from pyproject.toml
	uv pip compile --quiet --generate-hashes --python-version 3.11 --group dev --custom-compile-command "make lock" --output-file requirements.lock
	cd tests/images/controller && uv pip compile --quiet --python-version 3.12 --no-annotate --custom-compile-command "make lock" --output-file requirements.txt requirements.in

clean: ## Remove the demo, the test hosts and everything that runs for them; keep caches
	$(IMAGES) clean

distclean: ## As clean, and remove images and caches as well
	$(IMAGES) clean --caches
	rm -rf $(DEVORCH_CACHE)

environment: $(VENV)/.complete

venv: environment ## Print the directory of the Python environment
	@echo $(VENV)

$(VENV)/.complete:
	@echo "== Python environment in $(VENV) (about a minute on the first run)"
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv; }
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	touch $@
