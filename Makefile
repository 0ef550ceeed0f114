# `make demo` and `make test` need Python 3.11 or newer and make; everything else goes into .venv.
PYTHON ?= python3
VENV   := .venv
EXTRAS ?= dev

ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif

# On Linux, PyPI's torch brings gigabytes of CUDA: take the CPU build where its index can be reached.
# For a GPU: make demo TORCH_INDEX=
ifeq ($(shell uname -s),Linux)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
endif

PIP       := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALLED := $(VENV)/installed

# What Qt and OpenGL want of Debian to draw into a virtual display.
DEBIAN := xvfb xauth libgl1 libegl1 libdbus-1-3 libfontconfig1 libglib2.0-0 libxkbcommon-x11-0 libxcb-cursor0 \
          libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0

.PHONY: demo test lint bench docs system clean

demo: $(INSTALLED)
	$(BIN)/lookagain demo --out demo

# A process for every core, each with one thread; the tests of a file stay together, for they share what is slow to make.
test: lint system
	OMP_NUM_THREADS=1 $$(command -v xvfb-run >/dev/null && echo xvfb-run -a) $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# A quarter of an hour; on a machine that does nothing else.
bench: $(INSTALLED) system
	$$(command -v xvfb-run >/dev/null && echo xvfb-run -a) $(BIN)/python benchmarks/report.py --out bench

docs: $(INSTALLED)
	$(PIP) install -c constraints.txt -e ".[docs]"
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else 'Python 3.11 or newer is needed, but $(PYTHON) is %d.%d: run make with PYTHON=python3.11' % v)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt --no-deps $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX) --retries 1 --timeout 15) torch
	$(PIP) install -c constraints.txt -e ".[$(EXTRAS)]"
	@touch $@

# The rarest library stands for all of them. Where nothing may be installed, tests that draw skip and say so.
system:
	@command -v apt-get >/dev/null || exit 0; \
	if command -v xvfb-run >/dev/null && /sbin/ldconfig -p | grep -q libxcb-cursor.so.0; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then root=; elif sudo -n true 2>/dev/null; then root="sudo -n"; \
	else echo "Without root, no Debian packages are installed: $(DEBIAN)"; exit 0; fi; \
	{ $$root apt-get update -qq && \
	  $$root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(DEBIAN); } >/dev/null \
	|| echo "Some Debian packages could not be installed: $(DEBIAN)"

clean:
	rm -rf $(VENV) build dist demo docs/_build .mypy_cache .pytest_cache .ruff_cache
