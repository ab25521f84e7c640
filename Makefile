# Two commands matter: `make book` and `make test`. Each works on a fresh machine with Python and make.

PROFILE ?= quick
DATA ?=
IMAGENET ?=
TEXTS ?=
ONLY ?=
PUBLISH ?=
PYTHON ?= python3

# Another virtual environment may be active: nothing of it may leak into ours.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME CONDA_PREFIX PIP_REQUIRE_VIRTUALENV JUPYTER_PATH

VENV := .venv/installed
CHECKS := .venv/checks/installed
PY := .venv/bin/python
CLI := $(PY) -m svcca_lib

.DEFAULT_GOAL := help
.PHONY: help book site pdf check test scratch machines bench reference publish archive lint types package format lock clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|'
	@echo "  PROFILE=quick|cifar10|paper and DATA=cifar10:PATH choose scale and data of book"
	@echo "  PUBLISH=1 makes site demand the repository's address in _config.yml"
	@echo "  IMAGENET=FOLDER gives it the photographs of chapter 14, TEXTS=words:TRAIN,TEST the texts of 15"

book: $(VENV) ## Train, run every chapter, build the site; a second call does only what changed
	@$(CLI) workflow --profile "$(PROFILE)" --data "$(DATA)" --imagenet "$(IMAGENET)" --texts "$(TEXTS)"

site: $(VENV) ## Build the site from the published chapters, without computing
	@$(CLI) site published/cifar10 --staging build/site $(if $(PUBLISH),--publish)

pdf: $(VENV) ## Print the published chapters into one PDF (needs Chromium)
	@$(CLI) pdf published/cifar10 --staging build/pdf

check: lint types ## Style, imports, types, and tests of the measures: under a minute
	@$(PY) -m pytest -q -n 2 -m "not slow" tests/test_*.py tests/measures tests/fourier tests/inference \
	   tests/models tests/files

test: $(VENV) $(CHECKS) ## Unit, property, notebook and browser tests
	@$(PY) -m pytest --nbval --foreign -n 2 --dist loadfile

scratch: $(VENV) ## Train and run the whole book anew, and judge what comes against what is stored
	@$(PY) -m pytest tests/book/test_from_scratch.py

machines: $(VENV) ## Tests as on other machines, for hours; ONLY=haswell,oldest names some
	@$(CLI) machines --only "$(ONLY)"

bench: $(VENV) ## Times against peers, into benchmarks/results.md; wants a quiet machine
	@sed -n 's/^\([a-z].*\) \\$$/\1/p' requirements.txt > .venv/constraints.txt # versions, without hashes
	@$(PY) -m pip install --quiet -r benchmarks/requirements.txt -c .venv/constraints.txt
	@$(PY) benchmarks/run.py

reference: $(VENV) ## Remake reference/ and the stored outputs of book/
	@$(CLI) reference

# What ran without photographs or texts shows nothing, and does not replace what ran with them.
MISSING = $(if $(IMAGENET),,%/14-imagenet.ipynb) $(if $(TEXTS),,%/15-words.ipynb)
PUBLISHABLE = $(filter-out $(MISSING),$(wildcard build/cifar10/book/*.ipynb))

publish: $(VENV) ## Keep the chapters that `make book PROFILE=cifar10` executed as the published ones
	@mkdir -p published/cifar10 && cp $(PUBLISHABLE) published/cifar10/

archive: $(VENV) $(CHECKS) ## Make the record for an archive, build/svcca-record.zip, and validate it
	@$(CLI) archive build/svcca-record
	@.venv/checks/bin/cffconvert --validate
	@.venv/checks/bin/python tests/validate_record.py build/svcca-record

lint: $(VENV) $(CHECKS) ## Check style, which way imports go, the workflows, and how the project is set up
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && .venv/bin/lint-imports --no-cache --no-logo
	@.venv/checks/bin/zizmor --offline --quiet .github
	@.venv/checks/bin/repo-review --show errskip .

types: $(VENV) ## Check the types of the library, strictly
	@$(PY) -m mypy

package: $(VENV) ## Build the wheel and the source distribution into dist/
	@$(PY) -m build

format: $(VENV) ## Mend style
	@$(PY) -m ruff check --fix --extend-exclude "*.ipynb" . && $(PY) -m ruff format .

LOCK = .venv/checks/bin/uv pip compile --universal --python-version 3.11 --generate-hashes \
   --no-annotate --no-header --quiet --upgrade

lock: $(CHECKS) ## Remake requirements.txt and requirements-checks.txt from pyproject.toml
	@{ echo '# The lock: exact versions of everything and the hashes of their files, for Python 3.11 to 3.14.'; \
	   echo '# `make lock` remakes it.'; \
	   $(LOCK) pyproject.toml --extra files --extra pdf --extra workflow --group dev; } > requirements.new
	@{ echo '# The lock of the group `checks` of pyproject.toml. `make lock` remakes it.'; \
	   $(LOCK) --group checks; } > requirements-checks.new
	@mv requirements.new requirements.txt && mv requirements-checks.new requirements-checks.txt

clean: ## Remove what was built; the environment and the store of trained networks stay
	rm -rf _build build .snakemake .pytest_cache .ruff_cache .hypothesis

# The package itself has no hash: it is this folder. Its setuptools is that of the lock.
$(VENV): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit( \
	  "error: needs Python 3.11 or later, got %d.%d; name one with make PYTHON=python3.14" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --require-hashes --requirement requirements.txt
	$(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(CHECKS): requirements-checks.txt
	$(PYTHON) -m venv .venv/checks
	.venv/checks/bin/python -m pip install --quiet --require-hashes --requirement requirements-checks.txt
	@touch $@
