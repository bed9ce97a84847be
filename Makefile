# Needs Python 3.10 or later, make and git. Everything else is installed from the package registry
# into .venv* and .meltano, at the versions and hashes of requirements/*.txt.

PYTHON ?= python3
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
# uv makes the environments; Meltano uses it too. By itself it ignores the machine's certificates.
export UV_SYSTEM_CERTS := 1
export UV_NO_PROGRESS := 1
# A PYTHONPATH or an activated environment of the caller must not reach into these environments.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

UV := .venv-uv/bin/uv
VENV := .venv/.ready
DEMO := .venv-demo/.ready
TARGET_JSONL := .venv-target-jsonl/.locked
DBT_DUCKDB := .venv-dbt-duckdb/.locked
MELTANO := .venv-meltano/.locked
DEMO_PLUGINS := .meltano/.demo-ready
PLUGINS := .meltano/.ready
SINGER_TOOLS := .venv-singer-tools/.locked
POSTGRES := .venv-postgres/.locked
SNOWFLAKE := .venv-snowflake/.locked
DAGSTER := .venv-dagster/.locked
BENCH := .venv-bench/.ready

# Two environments at a time: an installation keeps one core busy.
make_ready = @$(MAKE) --silent --no-print-directory --jobs=2 $(1)

# What is installed for `make test ARGS=...`, by the paths in ARGS.
PATHS := $(filter tests/%,$(ARGS))
WHOLE := $(if $(PATHS),$(filter tests/pipelines% tests/project%,$(PATHS)),all)
TESTED := $(VENV)
TESTED += $(if $(WHOLE)$(filter tests/end_to_end%,$(PATHS)),$(SINGER_TOOLS))
TESTED += $(if $(WHOLE),$(DEMO) $(TARGET_JSONL) $(DBT_DUCKDB) $(PLUGINS))
TESTED += $(if $(WHOLE),$(POSTGRES) $(SNOWFLAKE) $(DAGSTER))

SOURCES := tap_barchart_events barchart_events_emulator tests demo benchmarks analyze hatch_build.py

.DEFAULT_GOAL := help
.PHONY: help install demo demo-meltano demo-postgres check test test-portable soak lint lint-own lint-orchestrate \
	format settings dist bench simulate lock clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS='	' read -r name what; do \
		printf '  make %-14s %s\n' "$$name" "$$what"; done

install:  ## the tap in .venv, Meltano in .venv-meltano with target-jsonl, target-postgres and dbt
	$(call make_ready,$(VENV) $(PLUGINS))

demo:  ## in a minute: sync, crash, resume, sync again; every event compared
	$(call make_ready,$(DEMO) $(TARGET_JSONL))
	@.venv-demo/bin/barchart-events-demo --target=.venv-target-jsonl/bin/target-jsonl

demo-meltano:  ## the same with Meltano; dbt on DuckDB, a report, the Grafana dashboard as a page
	$(call make_ready,$(DEMO) $(DEMO_PLUGINS) $(DBT_DUCKDB))
	@.venv-demo/bin/python -u -m demo

demo-postgres:  ## Meltano into a real PostgreSQL, the models of dbt, the same page
	$(call make_ready,$(DEMO) $(PLUGINS) $(POSTGRES))
	@.venv-demo/bin/python -u -m demo.postgres $(ARGS)

# Three processes for two cores, because tests also wait; conftest.py says what runs side by side.
WHOLE_SUITE := --cov --numprocesses=3 --dist=loadfile

test:  ## the whole test suite but the soak, or ARGS="tests/files -k quote"
	$(call make_ready,$(TESTED))
	.venv/bin/python -m pytest $(if $(ARGS),$(ARGS),$(WHOLE_SUITE))

soak:  ## half an hour of crashes, interleavings, properties; Dagster, Snowflake, recipes, demo-postgres
	$(call make_ready,$(TESTED))
	.venv/bin/python -m pytest -m "soak or hypothesis" --hypothesis-profile=soak $(ARGS)

# The parts of the suite that need neither Linux nor Meltano, a database or Dagster.
PORTABLE := tests/api tests/emulator tests/exports tests/files tests/test_products.py tests/test_settings.py

# Of exports and files, what takes about a second; tests/project has a test that needs Meltano.
QUICK := tests/api tests/emulator tests/test_*.py
QUICK += $(addprefix tests/exports/test_,knowledge.py planner.py saved_jobs.py stalls.py)
QUICK += $(addprefix tests/files/test_,engine.py layout.py refused_files.py rows.py sql.py)

check: lint-own  ## what to run before a commit: the linters, and the quick tests
	.venv/bin/python -m pytest --quiet $(QUICK)

test-portable: $(VENV)  ## the part of the suite that needs no Linux, with .venv alone
	.venv/bin/python -m pytest $(PORTABLE) $(ARGS)

WORKFLOWS := $(wildcard .github/workflows/*.yml) deploy/scheduled-workflow.yml
FORMS := $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))

# The hooks of .pre-commit-config.yaml are these commands; a test compares the two.
lint: lint-own lint-orchestrate  ## ruff (every rule but a few), formatting, mypy --strict, directions of imports, workflows, deployment

lint-orchestrate: $(VENV) $(DAGSTER)
	.venv/bin/mypy --python-executable .venv-dagster/bin/python orchestrate

lint-own: $(VENV)
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy $(SOURCES)
	.venv/bin/lint-imports --no-cache --no-logo
	.venv/bin/check-jsonschema --builtin-schema vendor.github-workflows $(WORKFLOWS)
	.venv/bin/check-jsonschema --builtin-schema vendor.github-issue-forms $(FORMS)
	.venv/bin/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	.venv/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	.venv/bin/zizmor --offline --quiet --persona=pedantic .github deploy/scheduled-workflow.yml
	.venv/bin/hadolint Dockerfile
	.venv/bin/kubernetes-validate --strict --quiet deploy/cronjob.yaml

format: $(VENV)  ## what ruff can put right by itself
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

settings: $(VENV)  ## write the settings into docs/settings.md, meltano.yml, hub and .env.example, as the tap knows them
	.venv/bin/python -m tests.settings_pages

dist: $(VENV)  ## source archive and wheel into dist, checked; the wheel is installed once and run
	rm -rf dist build/wheel
	.venv/bin/python -m hatchling build
	.venv/bin/twine check --strict dist/*
	$(UV) pip install --quiet --python .venv --no-deps --target build/wheel dist/*.whl
	cd build/wheel && ../../.venv/bin/python -m tap_barchart_events --version

bench: $(BENCH)  ## the tap beside a stock tap and other readers: one table
	.venv-bench/bin/python -m benchmarks $(ARGS)

simulate: $(VENV)  ## what window sizes cost, on a simulated clock: one table
	.venv/bin/python -m benchmarks.windows $(ARGS)

# uv itself, by pip.
.venv-uv/.locked: requirements/uv.txt
	@echo "Installing uv from requirements/uv.txt"
	@$(PYTHON) -m venv --clear .venv-uv
	@.venv-uv/bin/python -m pip install --quiet --no-deps --require-hashes --requirement $<
	@touch $@

# An environment: made again when its lock changes, with what the lock names and nothing else. uv
# resolves nothing (--no-deps): what the lock lacks, `uv pip check` finds.
define environment
@echo "Installing $(1) from $(2)"
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or later is needed; this is " + sys.version.split()[0] + ". Name another one: make PYTHON=...")'
@$(UV) venv --quiet --clear --no-python-downloads --python "$$(command -v $(PYTHON))" $(1)
@$(UV) pip install --quiet --python $(1) --no-deps --require-hashes --requirement $(2)
@$(UV) pip check --quiet --python $(1)
@touch $(1)/.locked
endef

.venv/.locked: requirements/dev.txt | .venv-uv/.locked
	$(call environment,.venv,$<)

.venv-%/.locked: requirements/%.txt | .venv-uv/.locked
	$(call environment,.venv-$*,$<)

# The tap itself, as it lies here, with the dependencies that are there already.
$(VENV) $(DEMO) $(BENCH): %/.ready: %/.locked pyproject.toml tap_barchart_events/__init__.py
	@$(UV) pip install --quiet --python $* --no-deps --no-build-isolation --editable .
	@touch $@

# The plugins that demos and tests run, in the environments that Meltano makes for them. An environment
# and a database that the user's .env names are not used: they need not exist, or could be elsewhere.
define plugins
@echo "Installing Meltano's plugins into .meltano: $(1)"
@rm -f $@
@MELTANO_DATABASE_URI="sqlite:///$(CURDIR)/.meltano/meltano.db" \
	.venv-meltano/bin/meltano --log-level=warning --no-environment install --clean $(1)
@touch $@
endef

$(DEMO_PLUGINS): $(MELTANO) meltano.yml pyproject.toml requirements/dev.txt requirements/target-jsonl.txt
	$(call plugins,tap-barchart-events target-jsonl)

$(PLUGINS): $(DEMO_PLUGINS) requirements/target-postgres.txt requirements/dbt.txt
	$(call plugins,target-postgres dbt-postgres)

COMPILE := $(UV) pip compile --quiet --upgrade --universal --python-version 3.10 \
	--generate-hashes --no-emit-index-url --custom-compile-command "make lock"

lock: .venv-uv/.locked  ## newer versions into requirements/*.txt, within the bounds of pyproject.toml
	$(COMPILE) pyproject.toml --extra emulator --extra faker --extra s3 --group dev \
		--output-file requirements/dev.txt
	$(COMPILE) pyproject.toml --extra emulator --group bench --output-file requirements/bench.txt
	$(COMPILE) pyproject.toml --extra emulator --group build --group demo --constraint requirements/dev.txt \
		--output-file requirements/demo.txt
	for name in $(basename $(notdir $(wildcard requirements/*.in))); do \
		$(COMPILE) requirements/$$name.in --output-file requirements/$$name.txt || exit 1; done

clean:  ## away with everything that make made, and the events and logs of documented commands
	rm -rf .venv .venv-* .meltano output build dist *.egg-info events*.jsonl \
		.pytest_cache .mypy_cache .ruff_cache .hypothesis transform/target transform/logs
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
