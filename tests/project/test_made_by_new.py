"""Objects of compiled classes that no __init__() has filled in: using them raises, and never crashes Python."""

import importlib
import pathlib
import subprocess
import sys

import pytest

import poolio

PACKAGE = pathlib.Path(poolio.__file__).parent
MODULES = sorted(".".join(("poolio", path.parent.name, path.stem)) for path in PACKAGE.glob("*/*.pxd")
                 if path.parent.name != "c" and importlib.util.find_spec(f"poolio.{path.parent.name}.{path.stem}"))
# Internal classes: what __new__() alone would make of them has nothing to work with.
INTERNAL = {
    "poolio.wire.stream": "StreamTransport", "poolio.wire.datagram": "DatagramTransport",
    "poolio.wire.endpoint": "Endpoint", "poolio.wire.outbox": "Outbox", "poolio.wire.readslab": "ReadSlab",
    "poolio.wire.shortage": "Shortage", "poolio.wire.listener": "Listener", "poolio.wire.selector": "SelectorCore",
    "poolio.wire.tlstransport": "TLSTransport", "poolio.wire.tlsengine": "TLSEngine",
    "poolio.wire.openssl": "OpenSSLEngine",
}
# Tries everything that an object has, with arguments of several kinds. What raises is right; a signal is not.
USE_ALL = """
import sys, warnings
warnings.simplefilter("ignore")
import poolio, {module} as module
ARGUMENTS = ((), (b"x",), (1,), (None,), (b"x", 1), (1, b"x"), (1, 0))
LEFT_OUT = {{"__new__", "__class__", "__init_subclass__", "__subclasshook__", "__dir__", "__format__"}}
for kind in list(vars(module).values()):
    if not isinstance(kind, type) or kind.__flags__ & 1 << 9 or not kind.__module__.startswith("poolio"):
        continue
    for name in sorted(set(dir(kind)) - LEFT_OUT):
        for arguments in ARGUMENTS:
            try:
                thing = kind.__new__(kind)
            except Exception:
                break
            try:
                found = getattr(thing, name)
                result = found(*arguments) if callable(found) else None
                if hasattr(result, "send") and hasattr(result, "close"):
                    result.close()
            except BaseException:
                pass
"""


@pytest.mark.parametrize("module", MODULES)
def test_class_made_by_new_alone_does_not_crash(module):
    done = subprocess.run([sys.executable, "-c", USE_ALL.format(module=module)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module, name", INTERNAL.items())
def test_internal_class_is_not_made_from_python(module, name):
    kind = getattr(importlib.import_module(module), name)
    with pytest.raises(TypeError):
        kind.__new__(kind)
    with pytest.raises(TypeError):
        object.__new__(kind)
    if name != "SelectorCore":          # which the loop makes
        with pytest.raises(TypeError):
            kind()


@pytest.mark.parametrize("codec", (
    poolio.Delimited, poolio.LengthPrefixed, poolio.Varint, poolio.FixedSize, poolio.Marked, poolio.LineAndBody))
def test_codec_whose_init_was_not_called_raises_or_works(codec):
    class Forgetful(codec):
        def __init__(self):
            pass

    for make in (lambda: codec.__new__(codec), Forgetful):
        for use in (lambda each: each.encode(b""), lambda each: each.encode(b"x"), lambda each: each.feed(b"abc\n"),
                    lambda each: each.gather([b""])):
            try:
                use(make())
            except (TypeError, ValueError, RuntimeError) as exc:
                assert str(exc)
