"""Objects that release or freeze a Buffer in mid-operation: an __index__, a __buffer__, a codec."""

import codecs
import subprocess
import sys
import textwrap

import pytest

import poolio


class Calls:
    """An index that runs code of its own before it answers."""

    def __init__(self, action, answer=0):
        self.action, self.answer = action, answer

    def __index__(self):
        self.action()
        return self.answer


def survives(code):
    """Run code in a process of its own: what could crash must not take the other tests along."""
    code = "import poolio\n" + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-X", "faulthandler", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_index_releasing_buffer_raises(pool):
    buf = pool.from_bytes(b"abc")
    with pytest.raises(poolio.BufferReleased):
        buf[Calls(buf.release)]


@pytest.mark.parametrize("zeroing", ["never", "on_release"])
@pytest.mark.parametrize("key", ["slice(evil, None)", "slice(None, evil)", "slice(0, 1, evil)"])
def test_slice_bound_releasing_buffer_raises(zeroing, key):
    survives(f"""
        class Evil:
            def __index__(self):
                buf.release()
                return 1
        evil = Evil()
        pool = poolio.Pool(zeroing={zeroing!r})
        buf = pool.from_bytes(b"abc")
        try:
            buf[{key}]
        except poolio.BufferReleased:
            pass
        else:
            raise AssertionError("a slice of released memory")
        pool.check()
        assert pool.statistics().live_buffers == 0
    """)


def test_assigned_byte_releasing_buffer_raises(pool):
    buf, other = pool.from_bytes(b"abc"), pool.from_bytes(b"xyz")
    with pytest.raises(poolio.BufferReleased):
        buf[0] = Calls(buf.release, 65)
    assert other == b"xyz"


def test_assigned_byte_freezing_buffer_raises(pool):
    buf = pool.from_bytes(b"abc")
    with pytest.raises(TypeError, match="frozen"):
        buf[0] = Calls(buf.freeze, 65)
    assert buf == b"abc"


@pytest.mark.parametrize("index", ["start", "stop"])
def test_assigned_slice_bound_releasing_buffer_raises(pool, index):
    buf = pool.from_bytes(b"abc")
    evil = Calls(buf.release, 1)
    key = slice(evil, 3) if index == "start" else slice(0, evil)
    with pytest.raises(poolio.BufferReleased):
        buf[key] = b"xy" if index == "start" else b"x"


def test_contained_value_releasing_buffer_raises(pool):
    buf = pool.from_bytes(b"abc")
    with pytest.raises(poolio.BufferReleased):
        Calls(buf.release, 97) in buf  # noqa: B015


@pytest.mark.skipif(sys.version_info < (3, 12), reason="__buffer__ in Python classes came with 3.12")
@pytest.mark.parametrize("action, error", [("release", poolio.BufferReleased), ("freeze", TypeError)])
def test_assigned_source_changing_buffer_raises(pool, action, error):
    class Source:
        def __buffer__(self, flags):
            getattr(buf, action)()
            return memoryview(b"xyz")
    buf = pool.from_bytes(b"abc")
    with pytest.raises(error):
        buf[:] = Source()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="__buffer__ in Python classes came with 3.12")
def test_compared_object_releasing_buffer_raises(pool):
    class Other:
        def __buffer__(self, flags):
            buf.release()
            return memoryview(b"abc")
    buf = pool.from_bytes(b"abc")
    with pytest.raises(poolio.BufferReleased):
        buf == Other()  # noqa: B015


SEARCHES = {
    "find": lambda buf, evil: buf.find(evil), "rfind": lambda buf, evil: buf.rfind(evil),
    "count": lambda buf, evil: buf.count(evil), "find start": lambda buf, evil: buf.find(b"b", evil),
    "find stop": lambda buf, evil: buf.find(b"b", 0, evil), "in": lambda buf, evil: evil in buf,
    "startswith": lambda buf, evil: buf.startswith(b"a", evil), "fill": lambda buf, evil: buf.fill(evil),
    "fill start": lambda buf, evil: buf.fill(0, evil), "split": lambda buf, evil: buf.split(None, evil),
    "copy_into": lambda buf, evil: buf.copy_into(bytearray(9), evil), "read": lambda buf, evil: buf.read_u8(evil),
    "write": lambda buf, evil: buf.write_u8(evil, 0), "write offset": lambda buf, evil: buf.write_u8(1, evil),
    "write u64": lambda buf, evil: buf.write_u64be(evil, 0), "write f32": lambda buf, evil: buf.write_f32be(evil, 0),
}


@pytest.mark.parametrize("operation", SEARCHES.values(), ids=SEARCHES)
def test_argument_releasing_buffer_raises(pool, operation):
    buf, other = pool.from_bytes(b"abcdefgh"), pool.from_bytes(b"x" * 8)
    with pytest.raises(poolio.BufferReleased):
        operation(buf, Calls(buf.release, 1))
    assert other == b"x" * 8


WRITES = {name: SEARCHES[name] for name in ("fill", "fill start", "write", "write u64", "write f32")}


@pytest.mark.parametrize("operation", WRITES.values(), ids=WRITES)
def test_argument_freezing_buffer_raises(pool, operation):
    buf = pool.from_bytes(b"abcdefgh")
    with pytest.raises(TypeError, match="frozen"):
        operation(buf, Calls(buf.freeze, 1))
    assert buf == b"abcdefgh"


def test_prefix_in_tuple_releasing_buffer_raises(pool):
    buf = pool.from_bytes(b"abc")
    with pytest.raises(poolio.BufferReleased):
        buf.startswith((b"x", b"y"), Calls(buf.release))


def test_codec_releasing_buffer_gets_buffer_error(pool):
    held, seen = [pool.from_bytes(b"a\xffb")], []

    def handler(error):      # registered for ever: it must not keep the Buffer
        with pytest.raises(BufferError):
            held[0].release()
        seen.append(error.object)
        return "?", error.end

    codecs.register_error("poolio-test", handler)
    assert held[0].decode("ascii", "poolio-test") == "a?b"
    assert seen == [b"a\xffb"]
    held.clear()


def test_concat_of_list_that_shrinks_meanwhile_is_of_what_it_was(pool):
    class Shrinks:
        def __iter__(self):
            yield b"abc"
            yield b"def"

    assert pool.concat(Shrinks()) == b"abcdef"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="__buffer__ in Python classes came with 3.12")
def test_concat_item_releasing_an_earlier_one_gets_buffer_error(pool):
    class Releases:
        def __buffer__(self, flags):
            with pytest.raises(BufferError):
                first.release()
            return memoryview(b"def")

    first = pool.from_bytes(b"abc")
    assert pool.concat([first, Releases()]) == b"abcdef"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="__buffer__ in Python classes came with 3.12")
def test_concat_item_that_raises_gives_everything_back(pool):
    class Raises:
        def __buffer__(self, flags):
            raise ZeroDivisionError

    first = pool.from_bytes(b"abc")
    with pytest.raises(ZeroDivisionError):
        pool.concat([first, Raises()])
    first.release()
