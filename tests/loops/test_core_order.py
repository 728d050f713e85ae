"""Random programs run in the order of asyncio's own loop on poolio.EventLoop: the logs of kit.programs are equal."""

import asyncio

import pytest
from kit.programs import LONG, Program

import poolio
from poolio.wire.reactor import HAS_EPOLL

pytestmark = pytest.mark.skipif(not HAS_EPOLL, reason="poolio.EventLoop needs epoll")
PROGRAMS = 40


class Subclassed(poolio.EventLoop):
    """Replaces what fast paths leave out, so that none is taken."""

    def time(self):
        return super().time()

    def call_at(self, when, callback, *args, context=None):
        return super().call_at(when, callback, *args, context=context)

    def _run_once(self):
        super()._run_once()


def check(seed, new_loop=poolio.new_event_loop, **options):
    expected = Program(seed, asyncio.SelectorEventLoop, **options).run()
    assert Program(seed, new_loop, **options).run() == expected, f"seed {seed}, {options}"
    assert len(expected) > 10


@pytest.mark.parametrize("options", (
    {"with_sockets": False}, {"with_sockets": True}, {"with_ties": True}, {"turns": LONG}, {"debug": True},
    {"new_loop": Subclassed},
), ids=lambda options: "-".join(options))
def test_random_programs_run_in_the_order_of_asyncio(options):
    for seed in range(PROGRAMS // 10 if "turns" in options else PROGRAMS):
        check(seed, **options)


@pytest.mark.full
@pytest.mark.parametrize("hundreds", range(100))
def test_thousands_of_random_programs_run_in_the_order_of_asyncio(hundreds):
    for seed in range(hundreds * 100, hundreds * 100 + 100):
        check(seed)
