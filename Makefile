# make demo, test and check need Python >= 3.11, make and a C compiler: the rest is installed into .venv.
#
#   PYTHON       the Python that .venv is made from
#   WORKERS      test processes (a number, or `logical` for one a processor)
#   ARGS         handed to pytest: make test ARGS="-x"
#   TORCH_INDEX  where to take torch from, e.g. https://download.pytorch.org/whl/cpu on a machine without a GPU
PYTHON ?= python3
WORKERS ?= logical
ARGS ?=
TORCH_INDEX ?=

PIP = $(@D)/bin/python -m pip install --quiet --constraint constraints.txt
GPU = $(shell nvidia-smi -L 2>/dev/null | grep -m 1 '^GPU' || ls /dev/nvidia[0-9]* 2>/dev/null | head -n 1)
TORCH_VERSION = $(shell sed -n 's/^torch==//p' constraints.txt)
PACKAGES = $(foreach d,tritongrad kernels/tritongrad_kernels bench examples,$(if $(wildcard $(d)/*.py),$(d)))

.PHONY: demo test fuzz gate test-lanes check lint types format gpu gpu-dry venv clean

# One thread: OpenBLAS's others spin while they wait, and lose more than they gain wherever a core is busy.
demo test fuzz test-lanes: export OPENBLAS_NUM_THREADS = 1

demo: .venv/.installed
	.venv/bin/python examples/digits.py

PYTEST = pytest -n $(WORKERS) --dist worksteal $(ARGS)
DEVICE_LINES = .device_lines

# The interpreter sees which lines of kernels run: so it runs them also where there is a GPU.
test: .venv/.installed
	@rm -rf $(DEVICE_LINES) && mkdir $(DEVICE_LINES)
	$(if $(GPU),TRITON_INTERPRET=1) DEVICE_LINES=$(DEVICE_LINES) .venv/bin/python -m $(PYTEST)
	@DEVICE_LINES=$(DEVICE_LINES) .venv/bin/python tests/device_coverage.py
	@$(MAKE) --no-print-directory gate

# New random programs on every run, so many of each operation; 100 take some ten minutes of one core.
EXAMPLES ?= 100
fuzz: .venv/.installed
	$(if $(GPU),TRITON_INTERPRET=1) FUZZ_EXAMPLES=$(EXAMPLES) .venv/bin/python -m $(PYTEST) tests/test_fuzz.py

# What training steps launch, compiled for every architecture: minutes at first, then only what has changed since.
gate: .venv/.installed
	TRITON_INTERPRET=1 .venv/bin/python -m bench compile

# The oldest and the newest Triton that are supported, with what differs from constraints.txt. `make test` is the third.
LANES = 3.6.0 3.9.0
LANE_3.6.0 = triton==3.6.0 numpy==2.3.5
LANE_3.9.0 = triton==3.9.0

test-lanes: $(LANES:%=.venv-%/.installed)
	@for lane in $(LANES); do \
	    start=$$(date +%s); \
	    $(if $(GPU),TRITON_INTERPRET=1) .venv-$$lane/bin/python -m $(PYTEST) || exit 1; \
	    echo "== Triton $$lane: $$(($$(date +%s) - start)) s"; \
	done

check:
	@for stage in venv lint types test gpu-dry; do \
	    start=$$(date +%s); \
	    $(MAKE) --no-print-directory $$stage || exit 1; \
	    echo "== $$stage: $$(($$(date +%s) - start)) s"; \
	done

lint: .venv/.installed
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .

types: .venv/.installed
	.venv/bin/mypy $(PACKAGES)

format: .venv/.installed
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

# For a GPU machine that brings its own torch and triton: no .venv, nothing is installed. OUT is where results go.
gpu gpu-dry: export PYTHONPATH = .:kernels
gpu:
	$(PYTHON) -m bench.visit $(ARGS)

# The same script without a GPU, on tiny shapes.
gpu-dry: export TRITON_INTERPRET = 1
gpu-dry: export OPENBLAS_NUM_THREADS = 1
gpu-dry: .venv/.installed
	OUT=$${OUT:-build/gpu-dry} .venv/bin/python -m bench.visit --dry --minutes 10 $(ARGS)

venv: .venv/.installed

# Of two builds of one version pip takes 2.13.0+cpu before 2.13.0, and leaves an installed one alone. So without a GPU
# the CPU build is what is installed wherever it is offered; with a GPU it is ruled out.
define INSTALL
	@echo "installing into $(@D) (the first time: minutes)"
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(if $(TORCH_INDEX),$(PIP) --index-url $(TORCH_INDEX) torch)
	$(PIP) $(if $(TORCH_INDEX),,$(if $(GPU),"torch!=$(TORCH_VERSION)+cpu")) --editable ".[data,cli,bench,demo,dev]"
endef

.venv/.installed: pyproject.toml constraints.txt
	$(INSTALL)
	@touch $@

# torch's CUDA build asks for the one Triton that it was released with: another has to be put in afterwards, unasked.
.venv-%/.installed: pyproject.toml constraints.txt Makefile
	$(INSTALL)
	$(@D)/bin/python -m pip install --quiet --no-deps $(LANE_$*)
	@touch $@

clean:
	rm -rf .venv .venv-* build dist $(DEVICE_LINES) .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
