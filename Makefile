# Two commands matter: `make book` and `make test`. Each works on a fresh machine with Python and make.

PROFILE ?= quick
DATA ?=
IMAGENET ?=
ONLY ?=
PYTHON ?= python3

# Another virtual environment may be active: nothing of it may leak into ours.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME CONDA_PREFIX PIP_REQUIRE_VIRTUALENV JUPYTER_PATH

VENV := .venv/installed
PY := .venv/bin/python
CLI := $(PY) -m svcca_lib

.DEFAULT_GOAL := help
.PHONY: help book site pdf check test machines bench reference publish lint types package format lock clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|'
	@echo "  PROFILE=quick|cifar10|paper and DATA=cifar10:PATH choose scale and data of book"
	@echo "  IMAGENET=FOLDER gives it the photographs of chapter 14"

book: $(VENV) ## Train, run every chapter, build the site; a second call does only what changed
	@$(CLI) workflow --profile "$(PROFILE)" --data "$(DATA)" --imagenet "$(IMAGENET)"

site: $(VENV) ## Build the site from the published chapters, without computing
	@$(CLI) site published/cifar10 --staging build/site

pdf: $(VENV) ## Print the published chapters into one PDF (needs Chromium)
	@$(CLI) pdf published/cifar10 --staging build/pdf

check: lint types ## Style, imports, types, and tests of the measures: under a minute
	@$(PY) -m pytest -q -n 2 -m "not slow" tests/test_*.py tests/measures tests/fourier tests/inference \
	   tests/models tests/files

test: $(VENV) ## Unit, property, notebook and from-scratch tests
	@$(PY) -m pytest --nbval --foreign -n 2 --dist loadfile

machines: $(VENV) ## Tests as on other machines, for hours; ONLY=haswell,oldest names some
	@$(CLI) machines --only "$(ONLY)"

bench: $(VENV) ## Times against peers, into benchmarks/results.md; wants a quiet machine
	@grep -v '^-e' requirements.txt > .venv/constraints.txt
	@$(PY) -m pip install --quiet -r benchmarks/requirements.txt -c .venv/constraints.txt
	@$(PY) benchmarks/run.py

reference: $(VENV) ## Remake reference/ and the stored outputs of book/
	@$(CLI) reference

# What ran without photographs shows nothing, and does not replace what ran with them.
PUBLISHABLE = $(filter-out $(if $(IMAGENET),,%/14-imagenet.ipynb),$(wildcard build/cifar10/book/*.ipynb))

publish: $(VENV) ## Keep the chapters that `make book PROFILE=cifar10` executed as the published ones
	@mkdir -p published/cifar10 && cp $(PUBLISHABLE) published/cifar10/

lint: $(VENV) ## Check style, and which way imports go
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && .venv/bin/lint-imports --no-cache --no-logo

types: $(VENV) ## Check the types of the library, strictly
	@$(PY) -m mypy

package: $(VENV) ## Build the wheel and the source distribution into dist/
	@$(PY) -m build

format: $(VENV) ## Mend style
	@$(PY) -m ruff check --fix --extend-exclude "*.ipynb" . && $(PY) -m ruff format .

lock: ## Remake requirements.txt from pyproject.toml (needs uv)
	@{ echo '# The lock: exact versions of everything, for Python 3.11 to 3.13. Remake it with `make lock`.'; \
	   uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	      --no-annotate --no-header --upgrade; \
	   echo '-e .'; } > requirements.new && mv requirements.new requirements.txt

clean: ## Remove what was built; the environment and the store of trained networks stay
	rm -rf _build build .snakemake .pytest_cache .ruff_cache .hypothesis

$(VENV): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit( \
	  "error: needs Python 3.11 to 3.13, got %d.%d; name one with make PYTHON=python3.13" % v)'
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --requirement requirements.txt
	@touch $@
