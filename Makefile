# gradeclass: `make run` and `make test` are all that a newcomer needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
RESOLVE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 pyproject.toml --extra all --group dev
export JUPYTER_PREFER_ENV_PATH := 1
export DO_NOT_TRACK := 1

.DEFAULT_GOAL := help
.PHONY: help setup run app test quick check outputs lab notebooks samples neural prefect docs docs-serve pictures lock lock-neural lock-prefect lock-docs clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

setup: $(STAMP) ## Make the environment in .venv from the lock file (done by the others when needed)

$(STAMP): requirements.lock setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'gradeclass needs Python 3.11 or newer: make PYTHON=python3.11 ...'; exit 1; }
	@echo 'Setting up .venv (once, about a minute)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --requirement requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

run: $(STAMP) ## Run the five stages; print the report's path. ARGS="-p seed=7" passes options on
	@$(BIN)/gradeclass run $(ARGS)

app: $(STAMP) ## Serve the pages; prints the address to open. ARGS="--port 9000" passes options on
	@$(BIN)/gradeclass app $(ARGS)

test: $(STAMP) check ## Notebook checks, nbdev_test and pytest
	@$(BIN)/nbdev_test --n_workers 2
	@$(BIN)/python -m pytest -n 2 $(ARGS)

quick: $(STAMP) ## The tests that need no browser, no server and no pipeline, in under two minutes
	@$(BIN)/python -m pytest -n 2 -m "not (browser or process or slow)" $(ARGS)

check: $(STAMP) ## Notebooks are clean and in step with the modules; ruff; what is imported is declared
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tests/check_notebooks.py
	@$(BIN)/ruff check gradeclass tests benchmarks setup.py docs examples
	@$(BIN)/deptry .

outputs: $(STAMP) ## Run the library notebooks and compare what they print with what they keep
	@$(BIN)/python tests/check_outputs.py

lab: $(STAMP) ## Open the notebooks in JupyterLab
	@$(BIN)/jupyter lab nbs

notebooks: $(STAMP) ## Run the library notebooks top to bottom and keep their outputs
	@$(BIN)/python -c "import keras" 2>/dev/null || echo "The neural notebook keeps its outputs: make neural, to run it too"
	@for nb in $$(find nbs/lib nbs/studies nbs/index.ipynb -name '*.ipynb' | sort); do \
	  case $$nb in *_neural.ipynb) $(BIN)/python -c "import keras" 2>/dev/null || continue;; esac; \
	  $(BIN)/jupyter nbconvert --log-level=ERROR --to notebook --execute --inplace $$nb || exit 1; done
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/nbdev_clean

samples: $(STAMP) ## Make the built-in samples in data/sample again
	@$(BIN)/python -c "from gradeclass.data.synthetic import write_samples; write_samples()"

neural: $(STAMP) ## Add TensorFlow for the model family `neural`, from requirements-neural.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --requirement requirements-neural.lock

prefect: $(STAMP) ## Add Prefect for schedules, from requirements-prefect.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --requirement requirements-prefect.lock

docs: $(STAMP) ## Build the documentation in docs/_build/html, with the tools of requirements-docs.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --requirement requirements-docs.lock
	@$(BIN)/python docs/build.py $(ARGS)

docs-serve: docs ## Serve the documentation on this computer; prints the address to open
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory docs/_build/html

pictures: $(STAMP) ## Take the pictures of the documentation anew; needs Chromium
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python docs/pictures.py

lock: $(STAMP) ## Resolve requirements.lock from pyproject.toml; versions stay as they are. ARGS=--upgrade takes the newest
	@$(RESOLVE) --custom-compile-command 'make lock' --output-file requirements.lock $(ARGS)

lock-neural lock-prefect: lock-%: $(STAMP) # What an extra adds to requirements.lock; versions stay unless its file is removed first
	@{ echo '# What the extra `$*` adds to requirements.lock; made by: make lock-$*'; \
	  $(RESOLVE) --extra $* $(patsubst %,--constraint %,requirements.lock $(wildcard requirements-$*.lock)) --no-header --no-annotate \
	  | grep -vxFf requirements.lock; } > requirements-$*.lock.new
	@mv requirements-$*.lock.new requirements-$*.lock

lock-docs: $(STAMP) # The same for the group docs, which builds on nothing of the package
	@{ echo '# What the group `docs` adds to requirements.lock; made by: make lock-docs'; \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --group docs --constraint requirements.lock --no-header --no-annotate \
	  | grep -vxFf requirements.lock; } > requirements-docs.lock.new
	@mv requirements-docs.lock.new requirements-docs.lock

clean: ## Remove the environment, builds and everything under outputs/
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find outputs -mindepth 1 ! -name .gitkeep -delete
