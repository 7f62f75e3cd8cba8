# The book and its checks. Needs Python 3.11 or newer, git and make; `make help` lists what there is.

PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
LOCK    := requirements/constraints.txt
STAMP   := $(VENV)/.installed
ZOO     ?= all
CHAPTERS ?= all
MACHINES ?= all
BEFORE  ?= book/executed
SPREAD  ?= -n logical --dist loadgroup
BOOK    := book/_build/html/index.html
BUILT   := book/_build/.built
SOURCES := _config.yml _toc.yml CITATION.cff Makefile benchmarks book data notebooks signseg_utils $(STAMP)
# What was changed after the pages were last built; what a build itself writes is left out.
CHANGED  = find $(SOURCES) \( -path book/_build -o -path book/chapters -o -name __pycache__ \) -prune -o -type f -newer $(BUILT) -print -quit
HTML    := $(BIN)/jupyter-book build . --path-output book --all -W -n --keep-going && touch $(BUILT)

.DEFAULT_GOAL := help
.PHONY: help install book html test lint smoke portable drift zoo results zip pdf clean

help:                  ## list the targets
	@grep -E '^[a-z]+: .*##|^[a-z]+: +##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

install: $(STAMP)      ## create .venv and install the pinned packages

$(STAMP): pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "expected Python 3.11 or newer, because the package uses its syntax; got %s; try make PYTHON=python3.12" % sys.version.split()[0])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c $(LOCK) -e '.[all]'
	@touch $@

book: $(STAMP)         ## run changed chapters with shipped results, build the book (RECOMPUTE=1: compute anew)
	@$(BIN)/signseg publish --profile shipped --zoo $(ZOO) --chapters $(CHAPTERS) $(if $(RECOMPUTE),--recompute); \
	made=$$?; case $$made in 0|3) ;; *) exit $$made ;; esac; \
	if test -e $(BUILT) -a -e $(BOOK) && test -z "$$($(CHANGED))"; then echo "no page has changed since the book was built"; \
	else $(HTML) || exit; fi; echo "open $(BOOK)"; \
	test $$made -eq 0 || echo "error: the book is built, but the pages listed above are not as they should be" >&2; \
	exit $$made  # 3: pages failed, and the book without them is better than none

html: $(STAMP)         ## build the book from the chapters that were run
	$(HTML)
	@echo "open $(BOOK)"

test: $(STAMP) lint    ## linters, types, import arrows, all tests on all cores, audit of what ships (BROWSER=no: none that needs Chromium)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SPREAD) $(if $(filter no,$(BROWSER)),-m 'not slow and not browser') --cov --cov-report=term --cov-fail-under=90
	$(MAKE) portable FAST=1 MACHINES=all ZOO=all CHAPTERS=all

lint: $(STAMP)         ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

smoke: $(STAMP)        ## run every chapter in every zoo with tiny settings, into runs/smoke
	$(BIN)/signseg publish --profile smoke --zoo $(ZOO) --chapters $(CHAPTERS) --output runs/smoke

portable: $(STAMP)     ## publish and audit all that ships under emulated processors (hours; FAST=1: audits and draws only, minutes)
	$(BIN)/signseg portable $(if $(FAST),--fast) --machines '$(MACHINES)' --zoo $(ZOO) --chapters $(CHAPTERS)

drift: $(STAMP)        ## compare two folders of executed chapters, line by line (BEFORE=book/executed AFTER=...)
	$(BIN)/signseg drift $(BEFORE) $(AFTER)

zoo: $(STAMP)          ## train the shipped networks, generators and detectors again (hours)
	$(BIN)/signseg train --zoo $(ZOO) --again

results: $(STAMP)      ## compute the shipped sweeps again (hours; continues where it stopped)
	$(BIN)/signseg publish --profile shipped --zoo $(ZOO) --chapters $(CHAPTERS) --output runs/results --results data/results

zip: html              ## the built book as one file that opens without a server
	cd book/_build/html && ../../../$(BIN)/python -m zipfile -c ../../offline.zip .

pdf: $(STAMP)          ## the built book as one PDF, book/signed_inputs.pdf (needs Chromium)
	$(BIN)/signseg pdf

clean:                 ## remove what was built, not what was installed
	rm -rf book/_build book/executed runs
