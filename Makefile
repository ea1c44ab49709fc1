# make demo: compare BRECQ with MRECG on the embedded default. make test: what every change must pass, in minutes.
# make test-all: that and the tests that take long, which must pass before a change lands.
# All make .venv on first use, from pyproject.toml and constraints.txt; uv installs faster where it is found, pip serves.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Tests run in a process a core, each with one thread; a file's tests stay together (tests/conftest.py).
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadgroup --durations=25 --durations-min=1

.PHONY: demo test test-all test-slow test-quick lint format docs clean install gpu

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"mrecg needs Python 3.11 to 3.13; this is {v.major}.{v.minor}: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@if command -v uv >/dev/null 2>&1; then \
	  echo "installing with uv"; uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
	else \
	  echo "installing with pip (torch is large: some minutes)"; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'; \
	fi
	@touch $@

demo: $(STAMP)
	$(BIN)/mrecg quantize experiment=demo sweep=brecq_vs_mrecg

# Lint runs beside the tests and says what it found when they end; if either fails, so does this.
test: $(STAMP)
	@said=$$(mktemp); $(MAKE) --no-print-directory lint >"$$said" 2>&1 & lint=$$!; \
	$(MAKE) --no-print-directory test-quick; tests=$$?; \
	wait $$lint; lint=$$?; cat "$$said"; rm -f "$$said"; \
	exit $$((tests || lint))

test-all: $(STAMP)
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory test-slow

test-quick: $(STAMP)
	$(PYTEST) -m "not slow"

test-slow: $(STAMP)
	$(PYTEST) -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The site, in build/site/index.html; a broken link or a page that is in no menu is an error. No network is needed.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "the site is in build/site/index.html"

# MINUTES=8 IMAGES=imagenet OUT=docs/benchmarks/gpu make gpu
gpu: $(STAMP)
	$(BIN)/python -m benchmarks.gpu --minutes $(or $(MINUTES),8) --out $(or $(OUT),outputs/gpu) \
	  $(if $(IMAGES),--images $(IMAGES))

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
