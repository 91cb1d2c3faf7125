# make demo | test | sim | fuzz | mutations | mutations-python | formal | flow | test-all | lint | docs | release   (README.md says what each does)

PYTHON   ?= python3
VENV     ?= .venv
PIP_ARGS ?=
BUNDLE   ?= build
BOARD    ?= ulx3s-85f
SIM      ?= verilator
IMAGES   ?= 100
TARGET   ?= ecp5
EFFORT   ?= full
N        ?= 30
MINUTES  ?=
SEED     ?= 1
WORKERS  ?= 2

BIN     := $(VENV)/bin
STAMP   := $(VENV)/.stamp
AUTONBA := "$(BIN)/autonba"

.DEFAULT_GOAL := help
.PHONY: help venv demo sim fuzz bad-input fuzz-readers mutations mutations-python formal flow netlist test test-all lint docs release clean

help:
	@echo 'make demo       search, generate, simulate and report on built-in images, into BUNDLE/'
	@echo 'make test       tests of every part (a few minutes)'
	@echo 'make sim        cocotb regression of a bundle            BUNDLE=build SIM=verilator|icarus'
	@echo 'make fuzz       random accelerators on random networks   N=30 or MINUTES=10, SEED=1'
	@echo 'make bad-input  mistakes in options and files: each is refused in one sentence (minutes)'
	@echo 'make fuzz-readers  random damage to files that are read  MINUTES=2, SEED=1'
	@echo 'make mutations  faults planted in the Verilog: each is found'
	@echo 'make mutations-python  faults planted in the Python code: the quick tests catch each (minutes)'
	@echo 'make formal     proofs about row tokens, buffers, schedulers and AXI fronts of a small random design (minutes)'
	@echo 'make flow       synthesis, place and route, bitstream    BUNDLE=build TARGET=ecp5|vivado'
	@echo 'make netlist    network bench on what make flow synthesized (minutes)'
	@echo 'make test-all   every test, also those that take long'
	@echo 'make lint       ruff (checker and formatter), mypy, import-linter'
	@echo 'make docs       the documents and the reference of every public name as pages, into site/ (about a minute)'
	@echo 'make release    wheel of the commit, tried in an empty environment, into dist/ (minutes)'
	@echo 'make clean      remove caches and site/; bundles stay'
	@echo 'Variables: PYTHON=python3.12  VENV=.venv  PIP_ARGS="--index-url ..."'

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "PYTHON must be Python 3.11 or newer, not $$($(PYTHON) --version 2>&1); set PYTHON=" >&2; exit 2; }
	@test -x "$(BIN)/python" || $(PYTHON) -m venv "$(VENV)"
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)
	@set -e; times=; total=0; \
	step() { \
	  name=$$1; shift; echo; echo "== $$name: $$(echo "$$*" | sed 's|$(BIN)/||')"; begin=$$(date +%s); "$$@"; \
	  took=$$(( $$(date +%s) - begin )); total=$$(( total + took )); \
	  times="$$times$$(printf '  %-10s %4d s' "$$name" $$took)|"; \
	}; \
	step search   $(AUTONBA) search --dataset digits --board $(BOARD) --effort $(EFFORT) -o "$(BUNDLE)"; \
	step gen-rtl  $(AUTONBA) gen-rtl "$(BUNDLE)"; \
	step sim      $(AUTONBA) sim "$(BUNDLE)" --simulator $(SIM) --images $(IMAGES); \
	step report   $(AUTONBA) report "$(BUNDLE)"; \
	echo; echo 'Time of the demo:'; echo "$$times" | tr '|' '\n' | sed '/^$$/d'; printf '  %-10s %4d s\n' all $$total; \
	echo "Next: make flow (bitstream), then autonba report $(BUNDLE)"

sim: $(STAMP)
	$(AUTONBA) sim "$(BUNDLE)" --simulator $(SIM) --images $(IMAGES) --regression

fuzz: $(STAMP)
	$(AUTONBA) fuzz $(if $(MINUTES),--minutes $(MINUTES),--count $(N)) --seed $(SEED) --cases tests/sim/cases

bad-input: $(STAMP)
	"$(BIN)/python" -m tests.bad_inputs

fuzz-readers: $(STAMP)
	"$(BIN)/python" -m tests.fuzz_readers --minutes $(or $(MINUTES),2) --seed $(SEED)

mutations: $(STAMP)
	"$(BIN)/python" -m autonba.sim.mutations

mutations-python: $(STAMP)
	"$(BIN)/python" -m tests.mutations_python --workers $(WORKERS)

formal: $(STAMP)
	"$(BIN)/python" -m autonba.sim.formal

flow: $(STAMP)
	$(AUTONBA) flow "$(BUNDLE)" --target $(TARGET)

netlist: $(STAMP)
	$(AUTONBA) sim "$(BUNDLE)" --netlist --simulator $(SIM)

test: $(STAMP)
	"$(BIN)/python" -m pytest -n $(WORKERS) -m "not slow"

test-all: $(STAMP)
	"$(BIN)/python" -m pytest -n $(WORKERS)

lint: $(STAMP)
	"$(BIN)"/ruff check .
	"$(BIN)"/ruff format --check .
	"$(BIN)"/mypy
	"$(BIN)"/lint-imports

# A build from before would hide the warnings of pages that have not changed.
docs: $(STAMP)
	"$(BIN)/ruff" check --output-format concise --select D1 --ignore D105,D107 .
	rm -rf site
	"$(BIN)/python" -m sphinx -W --keep-going -q -c docs . site
	@echo 'Begin with site/index.html'

release: $(STAMP)
	.ci/release "$(BIN)/python" $(PIP_ARGS)

clean:
	rm -rf .mypy_cache .ruff_cache .pytest_cache site docs/api
