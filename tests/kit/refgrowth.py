"""Owns a pytest plugin for debug interpreters: it runs each test several times and fails if references grow each time.

As the interpreter's own `regrtest -R 3:3` does it: the first runs fill caches and are not counted; a test leaks if the
count of all references grew in each of the others.

Called by `make check VARIANT=references`: PYTHONPATH=tests python-dbg -m pytest -p kit.refgrowth
"""

import array
import gc
import sys

import pytest
from _pytest.runner import runtestprotocol

UNCOUNTED, COUNTED = 3, 3

leaks: list[str] = []


def pytest_configure(config):
    if not hasattr(sys, "gettotalrefcount"):
        raise pytest.UsageError("refgrowth needs a debug interpreter: this one has no sys.gettotalrefcount()")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    growth = array.array("q", bytes(8 * (UNCOUNTED + COUNTED)))      # a list of numbers would add references itself
    gc.collect()
    before = sys.gettotalrefcount()
    for run in range(UNCOUNTED + COUNTED):
        runtestprotocol(item, log=False, nextitem=item.parent)     # what is shared with other tests stays set up
        gc.collect()
        after = sys.gettotalrefcount()
        growth[run] = after - before
        before = after
    for report in runtestprotocol(item, log=False, nextitem=nextitem):    # once more, to report and to clean up
        item.ihook.pytest_runtest_logreport(report=report)
    if min(growth[UNCOUNTED:]) > 0:
        leaks.append(f"{item.nodeid}: {', '.join(map(str, growth[UNCOUNTED:]))} references")
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_sessionfinish(session):
    if leaks:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    terminalreporter.section("reference growth")
    terminalreporter.line("\n".join(leaks) if leaks else f"none in {COUNTED} runs after {UNCOUNTED}")
