# Everything runs in .venv; the two stamps below are touched after an install, so that a second
# `make demo` or `make test` installs nothing unless pyproject.toml has changed.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
# Where `triptych data fetch` (or you) put the public data sets that `make bench` measures on.
DATASETS ?= data/var/datasets

export OMP_WAIT_POLICY ?= passive

.PHONY: install demo test lint bench dashboard samples clean

install: $(VENV)/.installed
	@echo "Installed. Next: make demo (the whole suite on sample data), or $(BIN)/triptych --help"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m pip install --user virtualenv && $(PYTHON) -m virtualenv $(VENV); }

# torch first and alone: its pin decides what everything else resolves to.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -o 'torch==[0-9.]*' pyproject.toml)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,distributed,postgres]"
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/triptych demo

dashboard: $(VENV)/.installed
	$(BIN)/triptych dashboard

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Tests start a hundred processes: what one has compiled the next need not (empty counts as unset).
test: export PYTHONDONTWRITEBYTECODE =
test: lint
	$(BIN)/pytest -n 2

bench: $(VENV)/.installed-dev
	$(BIN)/triptych benchmark core --datasets $(DATASETS)
	$(BIN)/triptych benchmark chatbot --datasets $(DATASETS)
	$(BIN)/triptych benchmark news --datasets $(DATASETS)
	$(BIN)/triptych benchmark recommender --datasets $(DATASETS)

# Makes data/samples again from data/samples/source; the result is committed and must not change.
samples: $(VENV)/.installed
	$(BIN)/python data/samples/make_chatbot.py
	$(BIN)/python data/samples/make_news.py
	$(BIN)/python data/samples/make_recommender.py

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
