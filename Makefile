# make demo            train a digit classifier and a digit detector, and write a report
# make test            run the tests, in two processes that print when they end
# Both create .venv, install the versions in constraints.txt and build the native code; a second call reuses it all.
#
# make check           ruff, clang-format, mypy
# make fuzz            compare random cases of every op with its reference, on every instruction set: 30 minutes on two cores
# make fuzz-all        the same without a time limit: hours
# make kill-resume     kill training at 20 random moments and resume it to the same bits
# make bench           run the benchmarks, with the other libraries where build/peers is installed
# make peers           create build/peers, an environment with torchvision, COCO evaluators and albumentations for `sightline bench --peers`
# make headers         compile the torch ops against the headers of the oldest torch (downloads 80 MB, once)
# make cuda            build with the CUDA kernels (needs nvcc, no GPU) and load that build
# make without-torch   build and test the NumPy part in an environment without torch
# make compat          test torchvision's and timm's models with our ops, in an environment with a torch without CUDA
# make abi             load and test one build in the oldest and the newest torch (downloads several GB)
# make sanitize        run the kernels and the NumPy part under the address and undefined-behaviour sanitizers
# make gpu             on a machine with a GPU: build for it with the current Python, test, benchmark
# make wheel           a wheel with CUDA kernels for every architecture
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
NATIVE := CMakeLists.txt pyproject.toml $(shell find csrc cmake -type f)
PACKAGES := $(shell find python -name __init__.py)
PEERS ?= torch==2.15.0 torchvision==0.29.2 numpy
COCO_PEERS ?= pycocotools==2.0.11 hotcoco==1.3.0 ultrafast-pycocotools==0.1.14 vernier==0.5.4 faster-coco-eval==1.8.0 \
  torchmetrics==1.9.0
AUGMENT_PEERS ?= albumentations==2.0.8 opencv-python-headless
TORCHVISION ?= 0.28.0
TIMM ?= 1.0.31
FUZZ_MINUTES ?= 28
FUZZ_SEED ?= 0
OLDEST_TORCH ?= 2.10.0
ABI_VERSIONS ?= $(OLDEST_TORCH) 2.15.0
WHEEL_ARCHITECTURES ?= 75-real;80-real;86-real;89-real;90-real;100-real;120

# PIP_CONSTRAINT applies to every pip below, including build environments.
export PIP_CONSTRAINT := $(abspath $(CONSTRAINTS))
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONPATH

BUILD_TOOLS := scikit-build-core pybind11 cmake ninja
TEST_TOOLS := pytest pytest-benchmark hypothesis pycocotools
# The requirements of every extra; torch must be installed before the build, which uses its headers.
EXTRAS = $(shell $(PYTHON) -c "import tomllib; \
  extras = tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']; \
  print(*(repr(r) for group in extras.values() for r in group if not r.startswith('sightline')))")

demo: $(VENV)/.built
	$(BIN)/python -m sightline demo

# Nearly every test uses one core: two processes beside each other, each with about half of the time.
FIRST_TESTS := tests/ops tests/native tests/nn
test: $(VENV)/.built
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target first-tests other-tests

first-tests:
	$(BIN)/python -m pytest -q $(FIRST_TESTS)

other-tests:
	$(BIN)/python -m pytest -q tests $(FIRST_TESTS:%=--ignore=%)

build: $(VENV)/.built

$(VENV)/.deps: pyproject.toml $(CONSTRAINTS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q $(BUILD_TOOLS) $(EXTRAS)
	touch $@

# CMake compiles only what changed. Python files need no build, but new packages do: an editable
# install records the packages, and does not find a new one before it is reinstalled.
$(VENV)/.built: $(VENV)/.deps $(NATIVE) $(PACKAGES)
	$(BIN)/pip install -q --no-build-isolation --no-deps -e .
	touch $@

# Both continue after a failure and list all failures at the end. The rest of the 30 minutes is for torchvision.
fuzz: FUZZ_LIMIT = --minutes $(FUZZ_MINUTES)
fuzz: TORCHVISION_CASES = 20000
fuzz-all: TORCHVISION_CASES = 200000
fuzz fuzz-all: $(VENV)/.built
	status=0; $(BIN)/python -m tests.fuzz --every-level $(FUZZ_LIMIT) --seed $(FUZZ_SEED) || status=1; \
	if test -x build/peers/bin/python; then \
	  $(BIN)/python -m tests.fuzz.against_torchvision --peers build/peers/bin/python \
	    --cases $(TORCHVISION_CASES) --seed $(FUZZ_SEED) || status=1; \
	else echo "no build/peers, so no comparison with torchvision: make peers"; fi; \
	exit $$status

kill-resume: $(VENV)/.built
	$(BIN)/python -m tests.train.kill_resume --kills 20

check: $(VENV)/.built
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(shell find csrc -name '*.h' -o -name '*.cpp' -o -name '*.cu*')
	$(BIN)/mypy

bench: PEERS_OPTION = $(if $(wildcard build/peers/bin/python),--peers build/peers/bin/python)
bench: $(VENV)/.built
	$(BIN)/python -m pytest -q benchmarks --benchmark-enable --benchmark-disable-gc
	$(BIN)/python -m sightline bench $(PEERS_OPTION)
	$(BIN)/python -m sightline bench coco $(PEERS_OPTION)
	$(BIN)/python -m sightline bench batch_norm --quick
	$(BIN)/python -m sightline bench augment $(PEERS_OPTION)

# torchvision's wheels need a CUDA build of torch, which also runs on a CPU: no constraint here.
peers:
	test -x build/peers/bin/python || $(PYTHON) -m venv build/peers
	PIP_CONSTRAINT= build/peers/bin/pip install -q $(PEERS) $(COCO_PEERS) $(AUGMENT_PEERS)
	build/peers/bin/python -c "import torchvision; print(torchvision.__version__)"

# The macOS wheel is the smallest one with the headers, a tenth of the one for Linux. Nothing is linked or run.
build/headers/$(OLDEST_TORCH)/torch/include:
	PIP_CONSTRAINT= $(BIN)/pip download -q --no-deps --only-binary=:all: --platform macosx_11_0_arm64 \
	  --python-version 3.11 -d build/headers/wheel torch==$(OLDEST_TORCH)
	$(BIN)/python -c "import glob, zipfile; wheel = zipfile.ZipFile(*glob.glob('build/headers/wheel/*.whl')); \
	  wheel.extractall('build/headers/$(OLDEST_TORCH)', [n for n in wheel.namelist() if n.startswith('torch/include/')])"
	rm -r build/headers/wheel

headers: build/headers/$(OLDEST_TORCH)/.compiled

build/headers/$(OLDEST_TORCH)/.compiled: $(NATIVE) | $(VENV)/.built build/headers/$(OLDEST_TORCH)/torch/include
	$(BIN)/cmake -S . -B $(@D)/objects -G Ninja -DCMAKE_BUILD_TYPE=Debug -DSIGHTLINE_TORCH=ON -DSIGHTLINE_CUDA=OFF \
	  -DSIGHTLINE_WERROR=$(or $(SIGHTLINE_WERROR),OFF) -DSIGHTLINE_TORCH_INCLUDE=$(abspath $(@D))/torch/include \
	  -DPython_EXECUTABLE=$(abspath $(BIN))/python -Dpybind11_DIR="$$($(BIN)/python -m pybind11 --cmakedir)" > /dev/null
	$(BIN)/cmake --build $(@D)/objects --target \
	  $(patsubst %,CMakeFiles/_torch.dir/%.o,$(wildcard csrc/*/torch.cpp csrc/*/*/torch.cpp) $(addprefix csrc/common/,call.cpp interpreter.cpp torch_module.cpp))
	touch $@

cuda: build/cuda/.built
	$(BIN)/python tools/check_cuda_build.py build/cuda/site

build/cuda/.built: $(VENV)/.built
	rm -rf build/cuda/wheel build/cuda/site
	$(BIN)/pip wheel -q --no-build-isolation --no-deps -Cbuild-dir=build/cuda/objects \
	  -Ccmake.define.SIGHTLINE_CUDA=ON -w build/cuda/wheel .
	$(BIN)/pip install -q --no-deps --target build/cuda/site build/cuda/wheel/*.whl
	touch $@

without-torch:
	test -x build/without-torch/bin/python || $(PYTHON) -m venv build/without-torch
	build/without-torch/bin/pip install -q $(BUILD_TOOLS) $(TEST_TOOLS) numpy scikit-learn
	build/without-torch/bin/pip install -q --no-build-isolation --no-deps --force-reinstall \
	  -Cbuild-dir=build/without-torch/objects .
	build/without-torch/bin/python -m pytest -q tests/without_torch tests/metrics

# All in one site-packages, as users have them. torchvision requires a CUDA build of torch, so it is
# installed without its dependencies. The wheel reuses objects that are already built.
compat: $(VENV)/.built
	test -x build/compat/bin/python || $(PYTHON) -m venv build/compat
	build/compat/bin/pip install -q torch numpy pillow safetensors PyYAML huggingface_hub $(TEST_TOOLS)
	build/compat/bin/pip install -q --no-deps torchvision==$(TORCHVISION) timm==$(TIMM)
	rm -rf build/compat/wheel
	$(BIN)/pip wheel -q --no-build-isolation --no-deps -w build/compat/wheel .
	build/compat/bin/pip install -q --no-deps --force-reinstall build/compat/wheel/*.whl
	build/compat/bin/python -m pytest -q -p no:cacheprovider tests/compat tests/nn/batch_norm/test_convert_torchvision.py
	build/compat/bin/python -m pytest -q -p no:cacheprovider tests/test_docs.py -k "test_an_example_runs and docs/compat"

# Tests one build, made here with one torch, with other versions, so without constraints.
abi: build/cuda/.built
	set -e; for version in $(ABI_VERSIONS); do \
	  python=build/abi/$$version/bin/python; \
	  test -x $$python || $(PYTHON) -m venv build/abi/$$version; \
	  PIP_CONSTRAINT= $$python -m pip install -q torch==$$version numpy $(TEST_TOOLS); \
	  $$python tools/check_cuda_build.py build/cuda/site; \
	  PYTHONPATH=build/cuda/site $$python -m pytest -q -p no:cacheprovider tests/ops; \
	done

sanitize: $(VENV)/.built
	SIGHTLINE_TORCH=OFF $(BIN)/pip wheel -q --no-build-isolation --no-deps -Cbuild-dir=build/sanitize/objects \
	  -Ccmake.define.CMAKE_BUILD_TYPE=RelWithDebInfo -Cinstall.strip=false \
	  -Ccmake.define.SIGHTLINE_NATIVE_TESTS=ON \
	  -Ccmake.define.CMAKE_CXX_FLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined" \
	  -w build/sanitize/wheel .
	set -e; for isa in avx512 avx2 baseline; do \
	  if SIGHTLINE_ISA=$$isa $(BIN)/python -c "from sightline import _numpy; _numpy.isa()"; then \
	    SIGHTLINE_ISA=$$isa build/sanitize/objects/kernel_checks; fi; done
	$(BIN)/pip install -q --no-deps --upgrade --target build/sanitize/site build/sanitize/wheel/*.whl
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so)" \
	  ASAN_OPTIONS=detect_leaks=0 SIGHTLINE_SITE=build/sanitize/site \
	  $(BIN)/python -m pytest -q -p no:cacheprovider tests/without_torch

gpu:
	SIGHTLINE_CUDA=ON $(PYTHON) -m pip install -q --no-build-isolation --no-deps --target build/gpu/site --upgrade .
	PYTHONPATH=build/gpu/site SIGHTLINE_TEST_CUDA=1 $(PYTHON) -m pytest -q -p no:cacheprovider tests/ops \
	  tests/metrics/detection/test_tensors.py
	PYTHONPATH=build/gpu/site $(PYTHON) -m pytest -q benchmarks --benchmark-enable
	mkdir -p benchmarks/results
	set -e; results=benchmarks/results/$$($(PYTHON) -c \
	  "import torch; print(torch.cuda.get_device_name().lower().replace(' ', '-'))"); \
	export PYTHONPATH=build/gpu/site; \
	$(PYTHON) -m sightline bench --device cuda --json $$results.json; \
	$(PYTHON) -m sightline bench batch_norm --device cuda --json $${results}_batch_norm.json

wheel: $(VENV)/.deps
	$(BIN)/pip wheel -q --no-build-isolation --no-deps -Ccmake.define.SIGHTLINE_CUDA=ON \
	  "-Ccmake.define.CMAKE_CUDA_ARCHITECTURES=$(WHEEL_ARCHITECTURES)" -Cbuild-dir=build/wheel/objects -w dist .

clean:
	rm -rf build dist $(VENV)

.PHONY: demo test first-tests other-tests build fuzz fuzz-all kill-resume check bench peers headers cuda without-torch abi sanitize gpu wheel clean
