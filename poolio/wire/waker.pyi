from poolio.wire.reactor import Reactor, Source

class Waker(Source):
    def __init__(self, reactor: Reactor) -> None: ...
