"""The exceptions: whose subclass each one is, so that existing except clauses catch them."""

import pytest

import poolio


@pytest.mark.parametrize("error, base", [
    (poolio.PoolExhausted, poolio.PoolError),
    (poolio.PoolExhausted, MemoryError),
    (poolio.BufferReleased, poolio.PoolError),
    (poolio.BufferReleased, ValueError),
    (poolio.PoolError, Exception),
])
def test_error_is_caught_as_its_base(error, base):
    with pytest.raises(base):
        raise error("why")
