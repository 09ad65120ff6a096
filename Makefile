# Two doors: `make book` and `make test`. Each makes .venv by itself from python3 and pip; a second call finds it made.
.DEFAULT_GOAL := help
.SUFFIXES:
SHELL := /bin/sh

PY     := .venv/bin/python
JOBS   ?= 2
SAMPLE ?= 1
# The stamp's name holds the content of the lock and the folder: a changed lock or a moved checkout sets up again.
KEY    := $(shell { cat requirements.lock; pwd; } | cksum | tr ' ' '-')
STAMP  := .venv/.installed-$(KEY)

.PHONY: help env lock data book chapter figures pdfs lab sync format pages test coverage oldest print look test-all test-browser test-real records readme verify-records reliability bench bench-step bench-gpu moving thumbnails clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

env: $(STAMP)  ## .venv with exactly what requirements.lock says (done by the others when needed)

$(STAMP):
	@.ci/environment $@

print: env  ## the book as one page and a PDF of it (with Chromium, when there is one), from the chapters that `make book` ran
	@$(PY) book/compile.py print

book: env  ## run the chapters that changed, build the pages with warnings as errors, print the path of index.html
	@$(PY) book/compile.py book

pages: env  ## build the site strictly from the chapters as `make test` ran them at the tiny preset (the numbers on it mean nothing)
	@$(PY) book/compile.py pages

test: env  ## lint, floors, fast tests, doctests, every chapter at the tiny preset
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS) --dist worksteal $(COVER)

coverage:  ## the same, and which lines of the package it never reached (chapters run in processes of their own and do not count)
	@$(MAKE) test COVER="--cov --cov-report=term"

oldest: env  ## the fast tests with the oldest versions that pyproject.toml allows, in an environment of their own
	@.ci/oldest

test-all: env  ## the same and the slow tests
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS) --dist worksteal -m "not real" $(COVER)

test-browser: env  ## pages and panels in headless Chromium, where this machine has it
	@OMP_NUM_THREADS=1 $(PY) -m pytest -m browser

look: env  ## every built page in headless Chromium: what sticks out, contrast, alternative texts; screenshots in _build/look
	@$(PY) book/look.py $(if $(P),--pages $(P))

test-real: env  ## tests against the licensed data set under VVI_DATA
	@$(PY) -m pytest -m real

chapter: env  ## one chapter with parameters: make chapter CH=02_mitml P="preset=tiny seeds=[0]"
	@$(PY) book/compile.py chapter "$(CH)" $(P)

figures: env  ## run every chapter again, which draws figures/ anew
	@$(PY) book/compile.py run --again

pdfs: env  ## the same, and beside each figure a PDF for print, which git ignores
	@VVI_PDF=1 $(PY) book/compile.py run --again

data: env  ## the embedded synthetic data set, when it is not there yet (the book does this by itself)
	@$(PY) book/compile.py data

sync: env  ## bring text twins and notebooks together (the newer one wins), drop outputs
	@$(PY) book/compile.py sync

format: env  ## ruff's formatter and import order, then sync
	@$(PY) -m ruff check --fix --quiet .
	@$(PY) -m ruff format .
	@$(PY) book/compile.py sync

lab: env  ## JupyterLab on the chapters
	@$(PY) -m jupyterlab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/book

records: env  ## train whatever stored result of the standard preset is missing (resumable)
	@for method in $$($(PY) -c "from vvi import methods; print(*methods.names())"); do $(PY) -m vvi ablate $$method --collect || exit 1; done

readme: env  ## from the stored records: what helps (README.md, book/index.md, their figure) and book/records/index.csv
	@$(PY) book/compile.py readme

moving: env  ## draw the moving pictures of the book anew, and their stills
	@$(PY) book/compile.py moving

thumbnails: env  ## draw the pictures of the query browser anew
	@$(PY) book/compile.py thumbnails

verify-records: env  ## train SAMPLE=1 of the stored results again and compare
	@$(PY) -m vvi verify --sample $(SAMPLE)

reliability: env  ## kill, fill the disk, race, feed nonsense: what is survived and refused, counted in book/records/reliability.json
	@OMP_NUM_THREADS=1 $(PY) -m pytest tests/test_interruption.py tests/test_bad_input.py tests/data/test_malformed.py tests/test_executors.py --reliability book/records/reliability.json

bench: env  ## speed on this machine: every script in benchmarks/ but that of the GPU
	@for script in $(filter-out benchmarks/gpu.py benchmarks/usual.py benchmarks/intervals.py,$(wildcard benchmarks/*.py)); do echo "$$script"; $(PY) $$script || exit 1; done

bench-step: env  ## a training step of every method at paper size against the usual way, on one thread: M="mitml iban" for some
	@OMP_NUM_THREADS=1 $(PY) benchmarks/step.py $(if $(M),--methods $(M))
	@$(PY) benchmarks/operators.py

bench-gpu: env  ## the same with the batches of the papers on a GPU; fails where there is none
	@$(PY) benchmarks/gpu.py $(if $(M),--methods $(M))

lock: env  ## requirements.lock anew from requirements.in (hashed, names no host)
	@$(PY) -m pip install --quiet --disable-pip-version-check uv
	@$(PY) -m uv pip compile --quiet --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url --no-emit-find-links --no-header --no-annotate -o requirements.lock requirements.in

clean:  ## remove what the book was built from and into (data, runs and .venv stay)
	rm -rf _build .pytest_cache .ruff_cache
