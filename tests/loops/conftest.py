"""Owns the loops that tests of the loop itself are given: a new one each, closed at its end."""

import asyncio

import pytest

import poolio


@pytest.fixture
def loop():
    loop = poolio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(params=[poolio.new_event_loop, asyncio.SelectorEventLoop], ids=["poolio", "asyncio"])
def either(request):
    """One after the other: the same is true on both."""
    loop = request.param()
    yield loop
    loop.close()
