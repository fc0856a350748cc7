# The book in two commands: `make book` builds the pages, `make test` checks everything.
# `make help` lists the others.

PYTHON ?= python3
PORT ?= 8000
REQUIREMENTS ?= requirements.txt
# Address of a package index to take torch from, such as one with CPU builds.
TORCH_INDEX ?=
# What `make reseed` adds to every seed.
SHIFT ?= 1000

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# One thread a process: two unrestricted torch processes on two cores slow each other down.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1
PYTEST := $(ONE_THREAD) COURSE_PROGRESS=off CUDA_VISIBLE_DEVICES= $(BIN)/python -m pytest
SLOW := tests/test_build.py tests/test_browser.py
FORMATTED := src tests benchmarks

.DEFAULT_GOAL := help
.PHONY: help book serve run run-all measure reseed bench test check lint fresh unit notebooks pages address clean \
  has-url

help:
	@echo "make book         build the pages into _build/html, from the stored outputs"
	@echo "make serve        show them at http://localhost:$(PORT)"
	@echo "make test         everything that is checked: style, units, notebooks, pages, browser"
	@echo "make check        the quick part of it: style, pairs, freshness, units, changed notebooks"
	@echo "make run          execute the chapters whose code changed since their outputs were stored"
	@echo "make run-all      execute all chapters"
	@echo "make measure      the same, and store the seconds and the memory that each one took"
	@echo "make reseed       run all chapters with other seeds: which claims hang on theirs?"
	@echo "make bench        time the book's functions beside others; benchmarks/README.md says how"
	@echo "make lint         style and spelling"
	@echo "make address URL=https://github.com/owner/repository   set the book's public address;"
	@echo "                  make address URL=--unset forgets it"
	@echo "make clean        delete the built pages"
	@echo "PYTHON=python3.12 chooses the Python, TORCH_INDEX=<url> where torch comes from"

$(READY): $(REQUIREMENTS) pyproject.toml
	@command -v "$(PYTHON)" > /dev/null || { \
	  echo "There is no '$(PYTHON)' here. Name a Python 3.11, 3.12 or 3.13: make book PYTHON=/path/to/python3.12"; \
	  exit 1; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v[:2] <= (3, 13) else f"The book needs Python 3.11, 3.12 or 3.13, but $(PYTHON) is Python {v[0]}.{v[1]}. Name another one: make book PYTHON=python3.12")'
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install --quiet --index-url "$(TORCH_INDEX)" "$$(grep -E '^torch(=|$$)' $(REQUIREMENTS))")
	$(BIN)/python -m pip install --quiet --requirement $(REQUIREMENTS)
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $(READY)

book: $(READY)
	rm -rf _build
	$(BIN)/jupyter-book build --quiet .
	@echo "The book is built. Open _build/html/index.html, or show it with: make serve"

serve: $(READY)
	@test -f _build/html/index.html || $(MAKE) book
	@echo "The book is at http://localhost:$(PORT) (Ctrl-C ends this)"
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

run: $(READY)
	$(BIN)/python -m course.book.run chapters

run-all: $(READY)
	$(BIN)/python -m course.book.run --all chapters

measure: $(READY)
	$(BIN)/python -m course.book.run --all --measure chapters

reseed: $(READY)
	$(BIN)/python -m course.book.reseed --shift $(SHIFT) chapters

bench: $(READY)
	$(BIN)/python benchmarks/ntk.py
	$(BIN)/python benchmarks/lazy_rich.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/hebbian.py
	$(BIN)/python benchmarks/moments.py

# Cheap checks first; the first one that fails ends it.
test: $(READY)
	@$(MAKE) lint
	@$(MAKE) fresh
	@$(MAKE) unit
	@$(MAKE) notebooks
	@$(MAKE) pages
	@echo "make test: all passed"

check: $(READY)
	@$(MAKE) lint
	@$(MAKE) fresh
	@$(MAKE) unit
	$(BIN)/python -m course.book.verify --changed chapters
	@echo "make check: all passed"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check $(FORMATTED)
	$(BIN)/codespell

fresh: $(READY)
	$(BIN)/python -m course.book.pairs chapters
	$(BIN)/python -m course.book.digest chapters

unit: $(READY)
	$(PYTEST) -n 2 --dist loadfile $(SLOW:%=--ignore=%) --doctest-modules src/course tests

notebooks: $(READY)
	$(BIN)/python -m course.book.verify chapters

pages: $(READY)
	$(PYTEST) $(SLOW)

has-url:
	@test -n "$(URL)" || { \
	  echo "Which address? Say: make address URL=https://github.com/owner/repository (or URL=--unset)"; \
	  exit 1; }

address: has-url $(READY)
	$(BIN)/python -m course.book.address "$(URL)"

clean:
	rm -rf _build
