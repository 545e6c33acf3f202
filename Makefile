# make demo   train a digit classifier and a digit detector, and write a report
# make test   run the tests
# Both make .venv, install what is pinned in constraints.txt and build the native code; a second call reuses it all.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
NATIVE := CMakeLists.txt pyproject.toml $(shell find csrc cmake -type f)

demo: $(VENV)/.built
	$(BIN)/python -m sightline demo

test: $(VENV)/.built
	$(BIN)/python -m pytest -q tests

build: $(VENV)/.built

check: $(VENV)/.built
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $$(find csrc -name '*.h' -o -name '*.cpp' -o -name '*.cu')
	$(BIN)/mypy

# PIP_CONSTRAINT reaches every pip below, build environments too.
export PIP_CONSTRAINT := $(abspath $(CONSTRAINTS))
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONPATH

BUILD_TOOLS := scikit-build-core pybind11 cmake ninja
# The requirements of every extra; torch must be here before the build, which takes its headers.
EXTRAS = $(shell $(PYTHON) -c "import tomllib; \
  extras = tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']; \
  print(*(repr(r) for group in extras.values() for r in group if not r.startswith('sightline')))")

$(VENV)/.deps: pyproject.toml $(CONSTRAINTS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q $(BUILD_TOOLS) $(EXTRAS)
	touch $@

# CMake compiles only what changed; Python files need no build. SIGHTLINE_WERROR is for us, not for users.
$(VENV)/.built: $(VENV)/.deps $(NATIVE)
	$(BIN)/pip install -q --no-build-isolation --no-deps -Ccmake.define.SIGHTLINE_WERROR=ON -e .
	touch $@

clean:
	rm -rf build dist $(VENV)

.PHONY: demo test build check clean
