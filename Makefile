# `make demo` and `make test` need Python >= 3.11 and make; each sets up .venv when it is missing or stale.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One of the two onnx runtimes: they fill the same import folder.
ONNX := $(if $(filter Linux-x86_64,$(shell uname -sm | tr ' ' -)),onnx-gpu,onnx)
ORACLES := .venv.oracles
BENCH := .venv.bench
STAMP := $(VENV)/.installed-$(ONNX)
# Tests run in one process a core, with one torch thread each. A worker takes up to 2 GB.
WORKERS ?= auto
THREADS ?= 1
PYTEST = OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist worksteal

.PHONY: help demo test test-slow test-variants test-oracles test-oracles-slow bench bench-dropout bench-harden coverage mutations lint check clean
help:
	@echo "make demo   set up and scan the built-in model"
	@echo "make test   set up and run the tests"
	@echo "make test-slow   set up and run the slow tests: many architectures, whole scans on real data"
	@echo "make test-oracles   compare the attacks with independent implementations"
	@echo "make test-oracles-slow   the whole of AutoAttack on three real networks (minutes)"
	@echo "make bench  compare speed and strength of the attacks with peers (hours; BENCH_ARGS=...)"
	@echo "make bench-dropout   the same for the dropping of neurons"
	@echo "make bench-harden    the time of a training step beside a plain loop and ART"
	@echo "make test-variants   the tests with plain kernels, and with two threads"
	@echo "make coverage   how much of the package the default tests run"
	@echo "make mutations   40 small faults, and which tests notice them (an hour or more)"
	@echo "make lint   ruff, mypy and the order of the rooms"
	@echo "make check  all of these, as CI does"

demo: $(STAMP)
	$(BIN)/lsa-audit demo

test: $(STAMP)
	$(PYTEST) $(PYTEST_ARGS)

test-slow: $(STAMP)
	$(PYTEST) -m slow $(PYTEST_ARGS)

# Other kernels and another number of threads round otherwise; no verdict of a test may hang on that.
test-variants: $(STAMP)
	ATEN_CPU_CAPABILITY=default $(PYTEST) $(PYTEST_ARGS)
	$(MAKE) test THREADS=2

coverage: $(STAMP)
	$(PYTEST) --cov=lsa_audit --cov-report=term --cov-fail-under=90 $(PYTEST_ARGS)

mutations: $(STAMP)
	$(BIN)/python -m benchmarks.mutations $(MUTATIONS_ARGS)

# The peers pin old versions of what we use ourselves, so they go into folders of their own, without what they ask for:
# whatever else they import is named too.
$(ORACLES): PEERS := "torchattacks>=3.5" "foolbox>=3.3" "pyautoattack>=0.2" eagerpy GitPython gitdb smmap requests \
	urllib3 charset-normalizer certifi idna
$(BENCH): PEERS := "torchattacks>=3.5" "foolbox>=3.3" "adversarial-robustness-toolbox>=1.20" "pyautoattack>=0.2" \
	"captum>=0.7" tqdm eagerpy GitPython gitdb smmap requests urllib3 charset-normalizer certifi idna six
$(ORACLES) $(BENCH): $(STAMP)
	rm -rf $@
	$(BIN)/python -m pip install --quiet --no-deps --target $@ $(PEERS)

test-oracles: $(ORACLES)
	PYTHONPATH=$(ORACLES) $(PYTEST) -m "oracles and not slow" $(PYTEST_ARGS)

test-oracles-slow: $(ORACLES)
	PYTHONPATH=$(ORACLES) $(PYTEST) -m "oracles and slow" $(PYTEST_ARGS)

bench: $(BENCH)
	PYTHONPATH=$(BENCH) $(BIN)/python -m benchmarks.attacks $(BENCH_ARGS)

bench-dropout: $(BENCH)
	PYTHONPATH=$(BENCH) $(BIN)/python -m benchmarks.dropout $(BENCH_ARGS)

bench-harden: $(BENCH)
	PYTHONPATH=$(BENCH) $(BIN)/python -m benchmarks.harden $(BENCH_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

check: lint test test-slow test-oracles

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=..." >&2; exit 1; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[$(ONNX),test,dev]"
	touch $@

clean:
	rm -rf $(VENV) $(ORACLES) $(BENCH)
