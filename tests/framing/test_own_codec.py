"""Codecs that an application writes itself: subclasses of Codec and codecs around another one."""

import asyncio
import gc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.reference import Parsed, pieces_of, shown
from kit.splits import CUTS, RULES, all_codecs, quick, well_formed

import poolio


class Pairs(poolio.Codec):
    """A byte that says how many bytes follow, twice: a tuple of two bytes objects."""

    def __init__(self, **options):
        super().__init__(**options)
        self.calls = 0

    def decode(self, chain):
        self.calls += 1
        key = chain.peek(1)[0]
        if key == 0xFF:
            raise poolio.FrameError("no pair")
        if len(chain) < 2 + key:
            chain.wanted = 2 + key
            return None
        value = chain.peek(2 + key)[1 + key]
        if len(chain) < 2 + key + value:
            chain.wanted = 2 + key + value
            return None
        chain.advance(1)
        first = bytes(chain.take(key))
        chain.advance(1)
        return first, bytes(chain.take(value))


def pair(key, value):
    return bytes([len(key)]) + key + bytes([len(value)]) + value


def test_own_codec_returns_objects_in_every_split():
    stream = pair(b"a", b"bc") + pair(b"", b"") + pair(b"def", b"")
    for first in range(len(stream)):
        for second in range(first, len(stream)):
            codec = Pairs()
            got = codec.feed(stream[:first]) + codec.feed(stream[first:second]) + codec.feed(stream[second:])
            assert got == [(b"a", b"bc"), (b"", b""), (b"def", b"")]


def test_own_codec_is_not_asked_below_wanted():
    codec = Pairs()
    stream = pair(b"a" * 50, b"b" * 50)
    got = [codec.feed(stream[at:at + 1]) for at in range(len(stream))]
    assert got[-1] == [(b"a" * 50, b"b" * 50)]
    assert codec.calls == 3


def test_own_codec_raising_behind_good_frames_raises_next():
    codec = Pairs()
    assert codec.feed(pair(b"a", b"b") + b"\xff" + pair(b"c", b"d")) == [(b"a", b"b")]
    for _ in range(2):
        with pytest.raises(poolio.FrameError, match="no pair"):
            codec.feed(b"")
    codec.chain.advance(1)              # it knows better than the library where to go on
    assert codec.feed(b"") == [(b"c", b"d")]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_own_codec_raising_once_goes_on(error):
    class Once(poolio.Codec):
        raised = False

        def decode(self, chain):
            if not self.raised:
                self.raised = True
                raise error
            return bytes(chain.take(1))

    codec = Once()
    with pytest.raises(error):
        codec.feed(b"ab")
    assert codec.feed(b"c") == [b"a", b"b", b"c"]


def test_own_codec_returning_falsy_objects_returns_them():
    class Numbers(poolio.Codec):
        def decode(self, chain):
            return chain.take(1)[0]

    assert Numbers().feed(b"\0\1\0") == [0, 1, 0]


class Stored(poolio.Codec):
    """A line `set <name> <size>`, which it keeps, then so many bytes and a line's end: (name, body)."""

    def __init__(self):
        super().__init__()
        self.name, self.size, self.chains = None, 0, []

    def decode(self, chain):
        self.chains.append(len(chain))
        if self.name is None:
            if not chain.startswith(b"set ") and len(chain) >= 4:
                raise poolio.FrameError("no command")
            line = chain.take_until(b"\r\n", 100)
            if line is None:
                return None
            _, self.name, size = line.split(b" ")
            self.size = int(size)
        if len(chain) < self.size + 2:
            chain.wanted = self.size + 2
            return None
        name, self.name = self.name, None
        frame = bytes(name), bytes(chain.take(self.size))
        chain.advance(2)
        return frame


STORED = b"set a 3\r\nxyz\r\nset b 0\r\n\r\nset c 2\r\n\r\n\r\n"


def test_own_codec_taking_a_part_and_coming_back_decodes_every_split():
    for first in range(len(STORED)):
        for second in range(first, len(STORED)):
            codec = Stored()
            got = codec.feed(STORED[:first]) + codec.feed(STORED[first:second]) + codec.feed(STORED[second:])
            assert got == [(b"a", b"xyz"), (b"b", b""), (b"c", b"\r\n")]
            assert len(codec.chain) == 0


def test_own_codec_is_not_called_for_an_empty_chain_nor_below_wanted():
    codec = Stored()
    for at in range(len(STORED)):
        codec.feed(STORED[at:at + 1])
    assert 0 not in codec.chains
    assert codec.chains.count(1) == 3 and len(codec.chains) == 9 * 3 + 3        # each byte of a line, and a body's last


def test_own_codec_returning_none_is_called_again_only_when_more_comes():
    class Skips(poolio.Codec):
        def decode(self, chain):
            return chain.take(1)[0] if chain[0] != ord("-") else chain.advance(1)

    codec = Skips()
    assert [codec.feed(read) for read in (b"-a", b"", b"-", b"")] == [[], [97], [], []]


def test_own_codec_returning_a_frame_of_bytes_taken_before_raises():
    class Late(poolio.Codec):
        taken = None

        def decode(self, chain):
            if self.taken is None:
                self.taken = chain.take(1)
                return None
            return self.taken

    codec = Late()
    assert codec.feed(b"a") == []
    with pytest.raises(RuntimeError, match=r"Late\.decode.*without taking"):
        codec.feed(b"b")


def test_own_codec_that_has_taken_all_ends_the_stream_unless_decode_last_says_no():
    class Strict(Stored):
        def decode_last(self, chain):
            if self.name is not None:
                raise asyncio.IncompleteReadError(b"", self.size)
            return super().decode_last(chain)

    for kind in (Stored, Strict):
        codec = kind()
        assert codec.feed(b"set a 3\r\n") == []
        if kind is Strict:
            with pytest.raises(asyncio.IncompleteReadError):
                codec.decode_last(codec.chain)
        else:
            assert codec.decode_last(codec.chain) is None


def test_own_codec_around_another_reuses_its_rules():
    class Text(poolio.Delimited):
        def decode(self, chain):
            line = super().decode(chain)
            return None if line is None else line.decode()

        def encode(self, text):
            return super().encode(text.encode())

    codec = Text(b"\n")
    assert codec.feed(codec.encode("héllo")) == ["héllo"]
    assert [bytes(piece) for piece in codec.gather(["hi"])] == [b"hi\n"]


def test_own_codec_without_methods_says_so():
    codec = poolio.Codec()
    assert codec.feed(b"") == []
    with pytest.raises(NotImplementedError, match=r"Codec.*decode"):
        codec.feed(b"x")
    with pytest.raises(NotImplementedError, match=r"Codec.*encode"):
        codec.encode(b"x")


def test_own_codec_not_calling_init_still_decodes():
    class Silent(poolio.Codec):
        def __init__(self):
            pass

        def decode(self, chain):
            return bytes(chain.take(1))

    assert Silent().feed(b"ab") == [b"a", b"b"]


@all_codecs
def test_codec_of_two_chains_keeps_them_apart(kind):
    @settings(quick, max_examples=40)
    @given(st.data())
    def holds(data):
        rules = data.draw(RULES[kind])
        streams = [data.draw(well_formed(kind, rules)) for _ in range(2)]
        reads = [iter(pieces_of(stream, data.draw(CUTS))) for stream in streams]
        codec, chains, parsed = rules.codec(), [poolio.Chain(), poolio.Chain()], [Parsed(), Parsed()]
        for turn in data.draw(st.lists(st.booleans(), min_size=60, max_size=60)):
            chains[turn].append(next(reads[turn], b""))
            decode_what_is_there(codec, chains[turn], parsed[turn])
        for turn in (0, 1):
            for read in reads[turn]:
                chains[turn].append(read)
            decode_what_is_there(codec, chains[turn], parsed[turn])
        expected = [rules.parse(stream) for stream in streams]
        assert [one.frames for one in parsed] == [one.frames for one in expected]
        assert codec.discarded == sum(one.discarded for one in expected)

    holds()


def decode_what_is_there(codec, chain, parsed):
    try:
        while (frame := codec.decode(chain)) is not None:
            parsed.frames.append(shown(frame))
    except poolio.FrameError as error:
        parsed.error = type(error)


def test_codec_and_chain_dropped_in_a_cycle_give_all_back(pool):
    class Own(poolio.LengthPrefixed):
        pass

    codec = Own()
    codec.me = codec
    codec.feed(pool.from_bytes(b"\0\0\0\7abc"))
    assert pool.statistics().live_bytes == 7
    del codec
    gc.collect()
    assert pool.statistics().live_bytes == 0
