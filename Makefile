# make demo: the main job end to end.  make test: the tests.  Both set up all they need in .venv.
VENV := .venv
BIN  := $(VENV)/bin
# The first interpreter that is new enough; name another with make PYTHON=/path/to/python3.12 ...
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)

# make setup TORCH=cpu: PyTorch without CUDA, in under 2 GB. pip has to know PyTorch's index of such builds.
TORCH  ?= default
EXTRAS ?= dev
CONSTRAINTS := constraints.txt
INSTALL_TORCH := true
ifeq ($(TORCH),cpu)
CONSTRAINTS := $(VENV)/constraints-cpu.txt
INSTALL_TORCH = sed -E '/^(nvidia-|cuda-|triton)/d; s/^(torch|torchvision)==.*/&+cpu/' constraints.txt > $(CONSTRAINTS) && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) torch torchvision || \
	{ echo "No CPU build of PyTorch was found. Set PIP_EXTRA_INDEX_URL to the index of CPU builds that pytorch.org names under Get started, and run: make setup TORCH=cpu" >&2; exit 1; }
endif

.PHONY: setup demo test test-all fuzz kills docs docs-serve docs-release check format clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "radapt needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@$(INSTALL_TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable '.[$(EXTRAS)]'
	@touch $@

demo: $(VENV)/.ready
	$(BIN)/radapt demo --out demo

# Workers and the commands that tests start share compiled modules, whatever the environment says.
test: $(VENV)/.ready
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -m "not slow" -n auto

test-all: $(VENV)/.ready
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto

# Damage files of every kind for a while, and see that each is read or refused: make fuzz MINUTES=10
MINUTES ?= 10
fuzz: $(VENV)/.ready
	$(BIN)/python tests/fuzz --minutes $(MINUTES)

# Kill run, embed and adapt at random points, and compare what they end with: make kills COUNT=20
COUNT ?= 20
kills: $(VENV)/.ready
	$(BIN)/python tests/kills --count $(COUNT)

# The pages in docs/ as a site in site/, without network: open site/index.html (search needs a server: make docs-serve)
docs: $(VENV)/.ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

docs-serve: $(VENV)/.ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

# The site of this version beside those of earlier ones, as a commit on the local branch gh-pages; nothing is pushed
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' src/radapt/versions.py)
docs-release: export NO_MKDOCS_2_WARNING := 1
docs-release: export PATH := $(abspath $(BIN)):$(PATH)
docs-release: $(VENV)/.ready
	mike deploy --update-aliases --alias-type redirect $(VERSION) latest
	mike set-default latest

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo site .pytest_cache .mypy_cache .ruff_cache
