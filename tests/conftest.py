"""Pools for the tests. After a test every pool that it made is empty again, and its accounting adds up."""

import gc
import signal

import pytest
from kit.memory import assert_empty

import poolio


def pytest_configure():
    """A shell starts `pytest &` with SIGINT ignored; programs that tests start and interrupt would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish(session):
    """What is alive now stays: looking at it again after each test took half of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def make_pool():
    pools = []

    def make(**options):
        pools.append(poolio.Pool(**options))
        return pools[-1]

    yield make
    assert_empty(*pools)


@pytest.fixture(params=("never", "on_alloc", "on_release"))
def pool(request, make_pool):
    return make_pool(zeroing=request.param)


@pytest.fixture
def default_pool_is_left_as_it_was():
    """In what it has allocated; for files whose tests use it: pytestmark = pytest.mark.usefixtures(...)."""
    before = poolio.default_pool().statistics().live_bytes
    yield
    gc.collect()
    assert poolio.default_pool().statistics().live_bytes <= before


@pytest.fixture
def class_capacities():
    """What each size class reserves: four steps to each doubling, from a quarter of a slab to 16 slabs."""
    def of(slab_size):
        bases = [slab_size // 4 << doubling for doubling in range(6)]
        return [base + step * base // 4 for base in bases for step in (1, 2, 3, 4)]

    return of


@pytest.fixture
def force(monkeypatch):
    """force(engine): TLS connections that are made from now on have it."""
    return lambda engine: monkeypatch.setenv("POOLIO_TLS_ENGINE", engine)
