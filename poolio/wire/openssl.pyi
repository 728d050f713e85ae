from poolio.wire.tlsengine import TLSEngine

VARIABLE: str
NAMES: tuple[str, ...]
LAYOUTS: tuple[tuple[int, int], tuple[int, int]]

class OpenSSLEngine(TLSEngine): ...

def why_not_direct() -> str: ...
def engine_name() -> str: ...
