# Everything starts from a fresh clone: each target makes the environment that it needs.
#   make test     all tests                      make bench      the quick throughput benchmark
#   make lint     ruff and cython-lint           make types      mypy --strict and stubtest
#   make sanitize the tests under AddressSanitizer and UndefinedBehaviorSanitizer
#   make test-full   every loop x wire x size x connections x zeroing mode (1,152 cases)
#   make bench-full  every cell of the benchmark (15 instead of 3)
#   make dist     sdist and wheel

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
SOURCES = pyproject.toml setup.py $(wildcard poolio/*.pyx poolio/*.pxd poolio/*.h)
# one file a set of extras, newer than the sources once they are built and installed
STAMP = $(VENV)/.installed-

.PHONY: test test-full bench bench-full lint types sanitize dist clean

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "poolio needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version). Say: make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(STAMP)%: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

test: $(STAMP)test
	$(BIN)/pytest -m "not full"

test-full: $(STAMP)test
	$(BIN)/pytest -m full tests/test_protocol.py

bench: $(STAMP)bench
	$(BIN)/python -m poolio bench --quick

bench-full: $(STAMP)bench
	$(BIN)/python -m poolio bench

lint: $(STAMP)dev
	$(BIN)/ruff check .
	PATH="$(abspath $(BIN)):$$PATH" cython-lint poolio

types: $(STAMP)dev
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest poolio --allowlist tests/stubtest-allowlist.txt \
		--ignore-unused-allowlist --ignore-disjoint-bases

# Installed, not editable: the sanitized modules must not stand in for the release build beside the sources.
SANITIZE = .venv-sanitize
sanitize:
	test -x $(SANITIZE)/bin/python || $(PYTHON) -m venv $(SANITIZE)
	POOLIO_BUILD=sanitize $(SANITIZE)/bin/python -m pip install --quiet --disable-pip-version-check '.[test]'
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
		ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0:allocator_may_return_null=1 PYTHONMALLOC=malloc POOLIO_BUILD=sanitize \
		$(SANITIZE)/bin/pytest -m "not full" -p no:cacheprovider --deselect tests/test_package.py

dist: $(STAMP)test
	$(BIN)/python -m build

clean:
	rm -rf build dist *.egg-info .venv .venv-* poolio/*.so poolio/*.c
