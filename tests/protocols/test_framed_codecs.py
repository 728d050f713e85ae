"""Which codec a connection has: one of its own, or one that all may share because it keeps no state."""

import pytest
from kit.pairs import linked, on, turns
from kit.wires import LOOPS, eventually

import poolio


class Counted(poolio.Codec):
    """A line `n` and then n lines, as one frame: between two reads, `lines` has those that came already."""

    def __init__(self):
        super().__init__()
        self.expected = None
        self.lines = []

    def decode(self, chain):
        while (end := chain.find(b"\n")) >= 0:
            line = chain.take(end).tobytes()
            chain.advance(1)
            if self.expected is None:
                self.expected = int(line)
                continue
            self.lines.append(line)
            if len(self.lines) == self.expected:
                frame, self.lines, self.expected = self.lines, [], None
                return frame
        return None


class Growing(Counted):
    """Its attributes stay the same objects; a list of them grows."""

    def decode(self, chain):
        end = chain.find(b"\n")
        if end < 0:
            return None
        self.lines.append(chain.take(end).tobytes())
        chain.advance(1)
        return list(self.lines)


class Slotted(poolio.Codec):
    __slots__ = ("seen",)

    def __init__(self):
        super().__init__()
        self.seen = 0

    def decode(self, chain):
        self.seen += 1
        return chain.take(1)


class Stateless(poolio.Codec):
    def __init__(self, size):
        super().__init__()
        self.size = size

    def decode(self, chain):
        return chain.take(self.size).tobytes() if len(chain) >= self.size else None


class Keeps(poolio.FramedProtocol):
    def __init__(self, codec=None):
        super().__init__(codec)
        self.frames = []

    def frames_received(self, frames):
        self.frames += frames


class OfClass(Keeps):
    codec = Counted


class OfFunction(Keeps):
    codec = staticmethod(lambda: Counted())


class OfMethod(Keeps):
    def codec(self):
        return Counted()


factories = pytest.mark.parametrize("factory", (
    OfClass, OfFunction, OfMethod, lambda: Keeps(Counted), lambda: Keeps(lambda: Counted()), lambda: Keeps(Counted())),
    ids=("class", "function", "method", "argument", "lambda", "object each"))


@factories
@on(*LOOPS)
async def test_connections_with_codecs_that_keep_state_are_kept_apart(factory):
    first, first_peer = await linked(factory)
    second, second_peer = await linked(factory)
    with first_peer, second_peer:
        first_peer.sendall(b"2\nfrom the first\n")
        await turns(10)
        second_peer.sendall(b"1\nfrom the second\n")
        await eventually(lambda: second.frames)
        first_peer.sendall(b"again\n")
        await eventually(lambda: first.frames)
        assert (first.frames, second.frames) == ([[b"from the first", b"again"]], [[b"from the second"]])
        for protocol in (first, second):
            protocol.transport.abort()
        await turns(5)


@factories
async def test_codec_of_a_protocol_is_its_own(factory):
    first, second = factory(), factory()
    assert type(first.codec) is type(second.codec) is Counted
    assert first.codec is not second.codec


async def test_codec_that_is_given_is_the_protocols():
    codec = poolio.Delimited(b"\n")
    assert poolio.FramedProtocol(codec).codec is codec


@pytest.mark.parametrize("kind, name", ((Counted, "expected|lines"), (Growing, "lines"), (Slotted, "seen")))
async def test_object_that_has_changed_is_refused_to_a_second_connection(kind, name):
    codec = kind()
    Keeps(codec).data_received(b"2\nfirst\n")
    with pytest.raises(RuntimeError, match=rf"{kind.__name__} keeps .*({name}).* 2 connections"):
        Keeps(codec)


@pytest.mark.parametrize("kind", (Counted, Growing, Slotted))
async def test_object_that_changes_later_decodes_no_byte_of_the_other_connection(kind):
    codec = kind()
    first, second = Keeps(codec), Keeps(codec)
    first.data_received(b"2\nfirst\n")
    decoded = list(first.frames)
    for protocol in (second, first):
        with pytest.raises(RuntimeError, match="Give the class, or a function that makes one"):
            protocol.data_received(b"second\n")
    assert (first.frames, second.frames) == (decoded, [])


@pytest.mark.parametrize("codec", (Stateless(3), poolio.FixedSize(3)), ids=("own", "poolio's"))
async def test_object_that_keeps_no_state_serves_all_connections(codec):
    protocols = [Keeps(codec) for _ in range(3)]
    for protocol in protocols * 2:
        protocol.data_received(b"ab")
    assert [protocol.frames for protocol in protocols] == [[b"aba"]] * 3


@pytest.mark.parametrize("given, why", (
    (None, "not 'NoneType'"), (b"\n", "not 'bytes'"), (object, r"not 'object', which <class 'object'> has made")))
async def test_what_is_no_codec_is_refused_by_name(given, why):
    with pytest.raises(TypeError, match=r"a FramedProtocol needs a poolio\.Codec, its class, or a function .*" + why):
        poolio.FramedProtocol(given)


async def test_function_that_raises_is_heard_as_it_is():
    with pytest.raises(ZeroDivisionError):
        poolio.FramedProtocol(lambda: 1 // 0)


async def test_codec_without_super_init_has_the_default_limit():
    class Short(poolio.Codec):
        def __init__(self):
            pass

    assert Short().max_frame == poolio.Codec().max_frame == 1 << 20
