"""POOLIO_DEBUG=1: where Buffers were allocated, who pins a slab, what is left at exit."""

import gc
import os
import subprocess
import sys

import pytest
from kit.memory import address_of, look

import poolio


@pytest.fixture
def debugged(make_pool, monkeypatch):
    monkeypatch.setenv("POOLIO_DEBUG", "1")
    return make_pool()


def allocate_here(pool, size):
    return pool.alloc_unsafe(size)


def test_allocated_at_names_the_callers_innermost_first(debugged):
    buf = allocate_here(debugged, 10)
    first, second = buf.allocated_at[:2]
    assert first.startswith(f"{__file__}:") and first.endswith("in allocate_here")
    assert second.endswith("in test_allocated_at_names_the_callers_innermost_first")
    assert buf[2:5].allocated_at == buf.allocated_at


@pytest.mark.parametrize("make", [
    lambda pool: pool.alloc(1), lambda pool: pool.alloc(0), lambda pool: pool.alloc(100_000),
    lambda pool: pool.alloc_unpooled(5), lambda pool: pool.from_bytes(b"x"), lambda pool: pool.concat([b"a"]),
    lambda pool: pool.from_bytes(b"x").detach(),
])
def test_allocated_at_is_known_of_every_kind(debugged, make):
    assert __file__ in make(debugged).allocated_at[0]


def test_allocated_at_without_debugging_is_none(pool):
    assert pool.alloc(1).allocated_at is None


@pytest.mark.parametrize("value, on", [("1", True), ("yes", True), ("0", False), ("", False)])
def test_debugging_is_what_the_variable_said_when_the_pool_was_made(make_pool, monkeypatch, value, on):
    monkeypatch.setenv("POOLIO_DEBUG", value)
    pool = make_pool()
    monkeypatch.delenv("POOLIO_DEBUG")
    assert (pool.alloc(1).allocated_at is not None) == on
    assert make_pool().alloc(1).allocated_at is None


@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_ended_memory_is_overwritten(debugged, size):
    neighbour, buf = debugged.from_bytes(b"neighbour"), debugged.from_bytes(b"s" * size)
    address = address_of(buf)
    piece = buf[:1]
    buf.release()
    assert look(address, size) == b"s" * size
    piece.release()
    assert look(address, size) == b"\xdd" * size
    assert neighbour == b"neighbour"


def test_report_says_who_pins_a_slab(debugged):
    piece = allocate_here(debugged, 60_000)[:64]
    kept = debugged.from_bytes(b"k" * 500)[:5].detach()
    lines = debugged.report().splitlines()
    assert lines[0] == repr(debugged)
    slab = lines.index("slab of 262144 bytes, 60504 carved, 1 holder(s)")
    assert lines[slab + 1] == "  60000 bytes, 64 shown by 1 Buffer(s), allocated at"
    assert lines[slab + 2].endswith("in allocate_here")
    assert "  5 bytes, 5 shown by 1 Buffer(s), allocated at" in lines
    assert (len(piece), len(kept)) == (64, 5)


def test_report_without_debugging_shows_slabs_and_how_to_see_more(pool):
    held = pool.alloc(100)
    assert pool.report().splitlines() == [
        repr(pool), "slab of 262144 bytes, 104 carved, 1 holder(s)", "set POOLIO_DEBUG=1 to see who holds what"]
    held.release()
    assert pool.report().splitlines() == [repr(pool), "set POOLIO_DEBUG=1 to see who holds what"]


def test_sites_are_forgotten_with_their_allocations(debugged):
    for size in (1, 100_000):
        debugged.alloc(size)
        debugged.check()            # as many sites as live allocations
    assert debugged.report() == repr(debugged)


@pytest.mark.parametrize("make", ["alloc_unsafe", "alloc_unpooled"])
def test_site_that_cannot_be_taken_loses_nothing(debugged, monkeypatch, make):
    held = debugged.from_bytes(b"held" * 25)

    def interrupted():
        raise KeyboardInterrupt
    monkeypatch.setattr(poolio.debug, "site", interrupted)
    with pytest.raises(KeyboardInterrupt):
        getattr(debugged, make)(5000)
    monkeypatch.undo()
    debugged.check()
    other = debugged.from_bytes(b"B" * 100)
    assert (held, other, debugged.statistics().live_buffers) == (b"held" * 25, b"B" * 100, 2)


def test_detach_whose_buffer_is_released_meanwhile_raises_there(debugged, monkeypatch):
    buf, site, seen = debugged.from_bytes(b"abc"), poolio.debug.site, []

    def releasing():
        with pytest.raises(BufferError):
            buf.release()
        seen.append(buf)
        return site()
    monkeypatch.setattr(poolio.debug, "site", releasing)
    assert buf.detach() == b"abc"
    assert (len(seen), buf.released) == (1, True)
    seen.clear()


def test_report_during_which_garbage_could_be_collected(debugged):
    class Cycle:
        pass
    for _ in range(3):
        cycle = Cycle()
        cycle.cycle, cycle.buf = cycle, debugged.alloc_unsafe(5 << 20)
    del cycle
    thresholds = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        assert debugged.report().count("5242880 bytes, 5242880 shown") in range(4)
    finally:
        gc.set_threshold(*thresholds)
    assert gc.isenabled()


def run(code, **variables):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("POOLIO_")} | variables
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return done.stderr


LEAKS = "import poolio\ndef leak(): return poolio.alloc(1234)\nheld = leak()\nown = poolio.alloc_unpooled(9)\n"


def test_exit_with_live_buffers_warns_and_names_them():
    said = run(LEAKS, POOLIO_DEBUG="1")
    assert "RuntimeWarning: 2 allocation(s) never dropped" in said
    assert "1234 bytes, 1234 shown by 1 Buffer(s), allocated at\n    <string>:2 in leak\n    <string>:3 in" in said


def test_exit_with_live_buffers_of_a_pool_of_ones_own_warns():
    said = run("import poolio\npool = poolio.Pool()\nheld = pool.alloc(77)", POOLIO_DEBUG="1")
    assert said.count("never dropped") == 1
    assert "77 bytes" in said


@pytest.mark.parametrize("code, variables", [
    (LEAKS, {}), (LEAKS + "held.release(); del own", {"POOLIO_DEBUG": "1"}),
    ("import poolio\ncycle = [poolio.alloc(5)]\ncycle.append(cycle)\ndel cycle", {"POOLIO_DEBUG": "1"}),
])
def test_exit_without_debugging_or_without_buffers_is_silent(code, variables):
    assert run(code, **variables) == ""


@pytest.mark.parametrize("code", [
    "view = memoryview(poolio.alloc(10))", "import threading; keep = threading.local(); keep.buf = poolio.alloc(5)",
    "class A: buf = poolio.alloc(3)\nA.a = A()", "poolio.held = [poolio.alloc(70_000)[3:]]",
])
def test_exit_with_buffers_in_odd_places_does_not_crash(code):
    assert "Error" not in run(f"import poolio\n{code}", POOLIO_DEBUG="1")
    assert run(f"import poolio\n{code}") == ""
