# One word for each habit. Needed beforehand: Python 3.11+, git, make.
#
# The environment is .venv in this clone, unless one is active already (a virtual environment, or a conda environment
# other than base): then that one is used. What can be chosen stands above each target below.

.DEFAULT_GOAL := help
.PHONY: help env table1 table2 table3 test slow runs report lint types format check lock clean

active := $(or $(VIRTUAL_ENV),$(if $(filter-out base,$(CONDA_DEFAULT_ENV)),$(CONDA_PREFIX)))
environment := $(or $(active),$(CURDIR)/.venv)

# Nothing is left outside the clone: what libraries would keep in the home directory goes to .cache/. A HF_HOME of your
# own is kept, since models of many gigabytes may lie there; pip's cache stays where pip has it.
HF_HOME ?= $(CURDIR)/.cache/huggingface
export HF_HOME
export HF_HUB_DISABLE_TELEMETRY := 1
export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
export TRITON_CACHE_DIR := $(CURDIR)/.cache/triton
export PYTHONNOUSERSITE := 1
inside := PATH="$(environment)/bin:$$PATH" XDG_CACHE_HOME="$(CURDIR)/.cache" "$(environment)/bin/python" -m

# CORES: how many cores Snakemake and the tests use (default: all that this process may use)
CORES ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)

help: ## list the targets
	@sed -n 's/^\([a-z0-9]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

# PYTHON=python3.12: the Python that a new .venv is made with (default: python3)
# TORCH_INDEX=<address>: where torch comes from: the index address that PyTorch's own install page gives for your
#   platform (CPU, or a CUDA version; default: what pip finds by itself)
# TORCH=torch==<version>: another torch than the pin in requirements.lock
# A choice of torch is remembered by the environment; another one replaces it.
export PYTHON TORCH TORCH_INDEX
env: ## make the environment, or bring it up to date
	@sh tools/environment.sh "$(environment)"

# SCALE=micro: another scale than tiny, the default
# SNAKEMAKE_FLAGS='-n': passed on to Snakemake; with a profile there, or SNAKEMAKE_PROFILE, that says where to run and how
#   many cores there are
cores = $(if $(SNAKEMAKE_PROFILE)$(findstring --profile,$(SNAKEMAKE_FLAGS)),,--cores $(CORES))
table1: ## the environment, then results/tables/table1.csv
table2: ## the environment, then table2.csv: BERT-Chat beside GPT-2-like baselines
table3: ## the environment, then table3.csv: Tiny-A2D beside its autoregressive source
table1 table2 table3: env
	@$(inside) snakemake $(cores) results/tables/$@.csv $(SNAKEMAKE_FLAGS) $(if $(SCALE),--config scale=$(SCALE))
	@if [ -f results/tables/$@.md ]; then printf '\n%s\n\n' results/tables/$@.md; cat results/tables/$@.md; fi

# PYTEST_FLAGS='-k sampler': passed on to pytest
test: env ## the environment, then the test suite
	@$(inside) pytest -n $(CORES) --maxprocesses 8 --dist loadfile $(PYTEST_FLAGS)

# SCALE=tiny: the runs of this scale only
runs: env ## MLflow's UI on this project's trainings and evaluations
	@$(inside) dlm runs ui $(if $(SCALE),--scale $(SCALE))

# SCALE=micro: that scale's
report: env ## results/tiny/report.html: the tables that are made, figures, lineage, answers, in one file
	@$(inside) dlm report $(if $(SCALE),--scale $(SCALE))

# Two at a time: they start Snakemake, trainings and clusters, each of which takes a core or two, or sleeps.
slow: env ## the slower suites: tests marked slow, slurm or browser
	@$(inside) pytest -m 'slow or slurm or browser' -n 2 --dist loadfile $(PYTEST_FLAGS)

snakefiles = $(wildcard Snakefile workflow/*.smk workflow/rules/*.smk)

lint: env ## ruff, snakefmt, who may import whom
	$(inside) ruff check
	$(inside) ruff format --check
	$(if $(snakefiles),$(inside) snakefmt --check $(snakefiles))
	PATH="$(environment)/bin:$$PATH" lint-imports --no-cache

types: env ## mypy, on the package and the executor plugin
	$(inside) mypy
	$(inside) mypy workflow/snakemake-executor-plugin-submitit/src

format: env ## rewrite the code in the project's format
	$(inside) ruff check --fix-only
	$(inside) ruff format
	$(if $(snakefiles),$(inside) snakefmt $(snakefiles))

check: lint types ## everything that reads the code without running it

# UPGRADE='torch transformers': the packages whose pins may move (default: those that pyproject.toml does not agree
#   with any more); UPGRADE=all: every one
lock: env ## resolve the dependencies of pyproject.toml into requirements.lock
	"$(environment)/bin/python" tools/lock.py $(UPGRADE)

clean: ## remove what tools leave behind; asks before it removes results
	@rm -rf .pytest_cache .ruff_cache .mypy_cache *.egg-info
	@find . -path ./.venv -prune -o -path ./results -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
	@if [ -t 0 ] && [ -d results ]; then \
	  printf 'Remove results/ as well: every checkpoint, response and table (and .snakemake/, .cache/, .mlflow/)? [y/N] '; \
	  read answer; \
	  case $$answer in [yY]*) rm -rf results .snakemake .cache .mlflow ;; esac; \
	fi
