"""What a stream's calls return, driven by hand: what `await` and asyncio ask of it."""

import pytest

import poolio


@pytest.fixture
async def reader():
    return poolio.StreamReader()


async def test_thrown_kind_and_value_are_raised(reader):
    for thrown in ((KeyError,), (KeyError("x"),), (KeyError, "x"), (KeyError, KeyError("x")), (KeyError, None, None)):
        with pytest.raises(KeyError):
            reader.read(1).throw(*thrown)


async def test_call_that_is_done_returns_by_stop_iteration(reader):
    reader.feed_data(b"abc")
    with pytest.raises(StopIteration) as stop:
        next(iter(reader.readexactly(2)))
    assert stop.value.value == b"ab"


async def test_repr_names_the_call(reader):
    call = reader.read(1)
    assert repr(call) == "<StreamReader.read()>"
    call.close()
