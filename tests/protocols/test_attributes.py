"""Attributes that subclasses of poolio's protocols set: found as fast as without a compiled base."""

import asyncio
import dis
import gc
import weakref

import pytest

import poolio

BASES = {
    "Protocol": (poolio.Protocol, ()),
    "FramedProtocol": (poolio.FramedProtocol, (poolio.LengthPrefixed(4),)),
    "StreamProtocol": (poolio.StreamProtocol, ()),
}
CALLS = 100     # enough for the interpreter to choose its instructions


# Compiled anew for each class: the interpreter chooses instructions for a piece of code, and forgets slowly.
COUNTING = """
class Counting(base):
    def begin(self):
        self.count = self.total = 0
        self.last = None

    def work(self, size):
        self.count += 1
        self.total += size
        self.last = size
"""


def counting(base):
    """A subclass whose handler has attributes of its own."""
    names = {"base": base}
    exec(COUNTING, names)
    return names["Counting"]


def chosen(made):
    """The instructions that the interpreter has chosen for the handler after many calls, without the place of a value.

    Two of them are as fast as one another: for an array of values, and for a plain dict.
    """
    made.begin()
    for size in range(CALLS):
        made.work(size)
    names = [each.opname for each in dis.get_instructions(type(made).work, adaptive=True)]
    return [name.replace("WITH_HINT", "INSTANCE_VALUE") for name in names]


def make(base, arguments):
    if base is poolio.StreamProtocol:
        arguments = (poolio.StreamReader(),)
    return counting(base)(*arguments)


@pytest.mark.parametrize("name", BASES)
async def test_attributes_of_a_subclass_get_the_instructions_of_asyncios_protocol(name):
    made = make(*BASES[name])
    wanted = chosen(counting(asyncio.Protocol)())
    assert wanted.count("STORE_ATTR_INSTANCE_VALUE") == 3
    assert chosen(made) == wanted
    assert (made.count, made.total, made.last) == (CALLS, sum(range(CALLS)), CALLS - 1)


@pytest.mark.parametrize("name", BASES)
async def test_attributes_in_a_cycle_end_with_their_object(name):
    made = make(*BASES[name])
    made.me, ended = made, weakref.ref(made)
    made.begin()
    assert set(vars(made)) >= {"me", "count", "total", "last"}
    del made
    gc.collect()
    assert ended() is None


def test_arguments_go_to_the_subclass_and_are_none_of_objects():
    class Named(poolio.FramedProtocol):
        codec = poolio.LengthPrefixed(4)

        def __init__(self, name, *, size):
            super().__init__()
            self.name, self.size = name, size

    made = Named("a", size=3)
    assert (made.name, made.size) == ("a", 3)
    with pytest.raises(TypeError, match="Protocol"):
        poolio.Protocol(1)
