from poolio.wire.reactor import Reactor, Source

class Alarm(Source):
    def __init__(self, reactor: Reactor) -> None: ...
