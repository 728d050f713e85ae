"""Constructors: help() shows what each takes, and the error for anything else names the class and its arguments."""

import ast
import inspect
import pathlib

import pytest

import poolio

PACKAGE = pathlib.Path(poolio.__file__).parent
STUBS = {
    poolio.Pool: "memory/pool.pyi", poolio.Chain: "memory/chain.pyi", poolio.Codec: "framing/codec.pyi",
    poolio.Delimited: "framing/delimited.pyi", poolio.LengthPrefixed: "framing/lengths.pyi",
    poolio.Varint: "framing/lengths.pyi", poolio.FixedSize: "framing/lengths.pyi",
    poolio.Marked: "framing/marked.pyi", poolio.LineAndBody: "framing/announced.pyi",
    poolio.StreamReader: "streams/reader.pyi", poolio.StreamWriter: "streams/writer.pyi",
    poolio.FramedProtocol: "protocols/framed.pyi",
}
NAME_IN_STUB = {poolio.StreamWriter: "WriterCore", poolio.FramedProtocol: "FramedCore"}
each_class = pytest.mark.parametrize("kind", STUBS, ids=lambda kind: kind.__name__)


def arguments_in_stub(kind):
    """(name, may be positional, has a default) of each argument of the stub's __init__()."""
    tree = ast.parse((PACKAGE / STUBS[kind]).read_text())
    name = NAME_IN_STUB.get(kind, kind.__name__)
    body = next(each for each in tree.body if isinstance(each, ast.ClassDef) and each.name == name).body
    arguments = next(each for each in body if getattr(each, "name", "") == "__init__").args
    positional = arguments.args[1:]
    first_default = len(positional) - len(arguments.defaults)
    return ([(each.arg, True, at >= first_default) for at, each in enumerate(positional)]
            + [(each.arg, False, default is not None)
               for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)])


@each_class
def test_signature_of_class_is_the_stubs(kind):
    found = inspect.signature(kind).parameters.values()
    assert [(each.name, each.kind is not each.KEYWORD_ONLY, each.default is not each.empty)
            for each in found] == arguments_in_stub(kind)


@pytest.mark.parametrize("made, names", [
    (poolio.Pool(), {"slab_size": "slab_size", "zeroing": "zeroing"}),
    (poolio.Delimited(b"\n"), {"max_frame": "max_frame"}),
    (poolio.LengthPrefixed(), {"max_frame": "max_frame", "width": "width", "adjustment": "adjustment"}),
    (poolio.Varint(), {"max_frame": "max_frame", "width": "width"}),
    (poolio.Marked(), {name: name for name in ("max_frame", "max_items", "max_depth", "bytes_up_to")}),
    (poolio.LineAndBody(0), {name: name for name in ("max_frame", "max_line", "bytes_up_to")}),
    (poolio.Codec(), {"max_frame": "max_frame"}),
])
def test_default_in_signature_is_the_one_that_is_used(made, names):
    shown = inspect.signature(type(made)).parameters
    assert {name: shown[name].default for name in names} == {name: getattr(made, name) for name in names}


@each_class
def test_unknown_keyword_is_refused_with_name_of_class_and_what_it_takes(kind):
    with pytest.raises(TypeError) as caught:
        kind(wrong=1)
    text = str(caught.value)
    assert text.startswith(f"{kind.__name__}{inspect.signature(kind)}: ")
    assert "'wrong'" in text or "missing" in text


@each_class
def test_argument_too_many_is_refused_with_name_of_class(kind):
    with pytest.raises(TypeError, match=rf"^{kind.__name__}\(.*\): too many positional arguments"):
        kind(*range(6))


@pytest.mark.parametrize("kind", (poolio.Delimited, poolio.FixedSize, poolio.StreamWriter))
def test_missing_argument_is_named(kind):
    with pytest.raises(TypeError, match=rf"^{kind.__name__}\(.*\): missing a required argument: '\w+'"):
        kind()


def test_subclass_without_init_is_named_itself():
    class Lines(poolio.Delimited):
        pass

    with pytest.raises(TypeError, match=r"^Lines\(delimiter, .*\): got an unexpected keyword argument 'max_size'"):
        Lines(b"\n", max_size=1)


def test_subclass_with_init_takes_what_it_likes():
    class Numbered(poolio.Codec):
        def __init__(self, number, *, colour):
            super().__init__(max_frame=number)
            self.colour = colour

    class Named(poolio.FramedProtocol):
        codec = Numbered(3, colour="red")

        def __init__(self, name):
            super().__init__()
            self.name = name

    assert (Numbered(7, colour="blue").max_frame, Named("x").name) == (7, "x")
    with pytest.raises(TypeError, match=r"Numbered.__init__\(\).*'size'"):
        Numbered(7, size=3)


@pytest.mark.parametrize("make", (lambda: poolio.Protocol(3), lambda: poolio.Protocol(pool=None)))
def test_protocol_without_init_takes_no_arguments(make):
    with pytest.raises(TypeError, match=r"^Protocol\(\): "):
        make()


@pytest.mark.parametrize("make, name", [
    (lambda: poolio.Varint(max_frame="a"), "max_frame"), (lambda: poolio.FixedSize(1.5), "size"),
    (lambda: poolio.LengthPrefixed(offset=None), "offset"), (lambda: poolio.Pool(slab_size="x"), "slab_size"),
    (lambda: poolio.StreamReader("a"), "limit"),
])
def test_size_that_is_no_integer_is_named(make, name):
    with pytest.raises(TypeError, match=rf"^{name} must be an integer, not '\w+'"):
        make()
